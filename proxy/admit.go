package proxy

import (
	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
)

// admit asks whether the client may send this request now. One that passes counts as
// under way until leave. A client whose limit is not enforced is not told of it.
func (p *Proxy) admit(x *exchange) reason.Code {
	if p.limiter == nil {
		return reason.None
	}
	d, who := &x.decision, p.limiter.Identify(x.addr, x.request.apiKey())
	if p.exempt.hold(&x.request) {
		x.lease = p.limiter.AdmitExempt(who, x.started, d)
		x.counted = true // fields stays empty: there is a wait to tell of, but no bucket
	} else {
		x.lease = p.limiter.Admit(who, x.started, d)
		x.counted, x.fields = !d.Shadow, p.limiter.Fields()
	}
	if !d.Allowed {
		return exceeded(d.Exceeded)
	}
	return reason.None
}

// exceeded is the reason to reject a request that is beyond the limit.
func exceeded(e limiter.Exceeded) reason.Code {
	if e == limiter.InFlight {
		return reason.TooManyInFlight
	}
	return reason.Limited
}

// shadowed returns why the request would have been rejected, were its client's
// limits enforced.
func (x *exchange) shadowed() reason.Code {
	if x.decision.Allowed && x.decision.Exceeded != limiter.Nothing {
		return exceeded(x.decision.Exceeded)
	}
	return reason.None
}

// leave tells the limiter that the request is no longer under way. A second call does
// nothing. It comes before the last write to the client, where no backend is at work
// on the request any more: else a client that sends one request after the other, each
// on a connection of its own, could be told that there are two.
func (x *exchange) leave() {
	x.lease.Release()
	x.lease = limiter.Lease{}
}
