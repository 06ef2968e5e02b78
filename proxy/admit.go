package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
)

// admit decides whether the client may send this request now. An admitted request counts as in
// flight until leave. A client whose limit is not enforced is not told of it.
func (p *Proxy) admit(x *exchange) reason.Code {
	if p.limiter == nil {
		return reason.None
	}
	d, caller := &x.decision, p.limiter.Identify(x.addr, x.request.apiKey())
	if p.exempt.hold(&x.request) {
		x.lease = p.limiter.AdmitExempt(caller, x.started, d)
		x.counted = true // fields stays empty: there is a wait to report, but no bucket
	} else {
		x.lease = p.limiter.Admit(caller, x.started, d)
		x.counted, x.fields = !d.Shadow, p.limiter.Fields()
	}
	if !d.Allowed {
		return exceeded(d.Exceeded)
	}
	return reason.None
}

// exceeded returns the reason to reject a request that exceeds a limit.
func exceeded(e limiter.Exceeded) reason.Code {
	if e == limiter.InFlight {
		return reason.TooManyInFlight
	}
	return reason.Limited
}

// shadowed returns the reason why the request would have been rejected if its client's limits were
// enforced.
func (x *exchange) shadowed() reason.Code {
	if x.decision.Allowed && x.decision.Exceeded != limiter.Nothing {
		return exceeded(x.decision.Exceeded)
	}
	return reason.None
}

// leave tells the limiter that the request has ended. A second call does nothing. It runs before
// the last write to the client, when no backend works on the request any more. Otherwise a client
// that sends one request after another, each on its own connection, could be counted with two at
// once.
func (x *exchange) leave() {
	x.lease.Release()
	x.lease = limiter.Lease{}
}
