package proxy

import (
	"time"

	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// admission is what the limiter has decided, and what the client is told of it.
type admission struct {
	client   limiter.Client // the zero value if no client is limited
	decision limiter.Decision
	lease    limiter.Lease  // released by leave
	told     bool           // decision and fields are shown to the client
	fields   limiter.Fields // those that report decision
}

// admit decides whether the client may send this request, which began at the given time. An
// admitted request counts as in flight until leave. A client whose limit is not enforced is not
// told of it.
func (a *admission) admit(l *limiter.Limiter, s *settings, c *caller, r *message.Request, began time.Time) reason.Code {
	a.client = l.Identify(c.addr, apiKey(r.Key))
	if s.exempt.hold(r) {
		a.lease = l.AdmitExempt(a.client, began, &a.decision)
		a.told = true // fields stays empty: there is a wait to report, but no bucket
	} else {
		a.lease = l.Admit(a.client, began, &a.decision)
		a.told, a.fields = !a.decision.Shadow, s.limitFields
	}
	if a.decision.Exceeded == limiter.Blocked { // no wait helps
		a.told = false
	}
	if !a.decision.Allowed {
		return exceeded(a.decision.Exceeded)
	}
	return reason.None
}

// apiKey returns the value of an API key field, or nil if no client could have it.
func apiKey(value []byte) []byte {
	if len(value) > limiter.MaxKeySize {
		return nil
	}
	return value
}

// exceeded returns the reason to reject a request that exceeds a limit, or is a blocked client's.
func exceeded(e limiter.Exceeded) reason.Code {
	switch e {
	case limiter.InFlight:
		return reason.TooManyInFlight
	case limiter.Blocked:
		return reason.Blocked
	}
	return reason.Limited
}

// shadowed returns the reason why the request would have been rejected if its client's limits were
// enforced.
func (a *admission) shadowed() reason.Code {
	if a.decision.Allowed && a.decision.Exceeded != limiter.Nothing {
		return exceeded(a.decision.Exceeded)
	}
	return reason.None
}

// leave tells the limiter that the request has ended. A second call does nothing. It runs before
// the last write to the client, when no backend works on the request any more. Otherwise a client
// that sends one request after another, each on its own connection, could be counted with two at
// once.
func (a *admission) leave() {
	a.lease.Release()
	a.lease = limiter.Lease{}
}
