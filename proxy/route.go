package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/reason"
)

// route finds the request's route, and its pool.
func (x *exchange) route() reason.Code {
	r := &x.stream.Request
	if fault := x.settings.routes.Find(r, &x.match); fault != nil {
		r.Fault, x.stream.Cause = fault, fault
		return reason.BadRequest
	}
	if x.match.Route == nil {
		return reason.NoRoute
	}
	key := uint64(0)
	if x.match.Route.Splits() {
		key = splitKey(&x.caller, x.admission.client)
	}
	x.pool = x.match.Route.Pool(key)
	return reason.None
}

// splitKey returns what a split knows the client by: the name of a client that has an API key,
// which may have many addresses, or else the address.
func splitKey(c *caller, registered limiter.Client) uint64 {
	if name := registered.Name(); name != "" {
		return balance.StringKey(name)
	}
	return c.key
}
