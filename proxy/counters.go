package proxy

import (
	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// Counters are what has been counted since the process began, and what is under way.
type Counters struct {
	Pools    []PoolCounters // and of the requests that reached no pool
	Errors   []uint64       // requests that no backend answered in full, in the order of Reasons
	Rejected uint64         // of these, those over their limit

	InFlight    int64 // requests, without tunnels
	Tunnels     int64
	Connections int // of clients
}

// PoolCounters are those of one pool, or of the requests that reached none.
type PoolCounters struct {
	Pool     string // "": none
	Statuses metrics.Classes
	Took     metrics.Buckets
}

// countedReasons are the reasons that are counted on their own.
var countedReasons = func() (all []reason.Code) {
	for why := reason.BadRequest; why < reason.Count; why++ {
		if why.CountedAs() == why {
			all = append(all, why)
		}
	}
	return all
}()

// Reasons returns the codes of the reasons in Counters.Errors.
func Reasons() []string {
	names := make([]string, len(countedReasons))
	for i, why := range countedReasons {
		names[i] = why.String()
	}
	return names
}

// Counters replaces c with what the counters say now. It keeps the memory of its lists.
func (p *Proxy) Counters(c *Counters) {
	add := func(pool string, r *upstream.Requests) {
		statuses, took := r.Totals()
		c.Pools = append(c.Pools, PoolCounters{pool, statuses, took})
	}
	c.Pools, c.Errors = c.Pools[:0], c.Errors[:0]
	add("", p.road.noPool)
	for _, pool := range p.Pools() {
		add(pool.Name(), pool.Requests())
	}
	for _, why := range countedReasons {
		c.Errors = append(c.Errors, p.road.errors[why].Load())
	}
	c.Rejected = p.road.errors[reason.Limited].Load() + p.road.errors[reason.TooManyInFlight].Load()
	c.InFlight, c.Tunnels = p.server.UnderWay()
	c.Connections = p.server.Connections()
}
