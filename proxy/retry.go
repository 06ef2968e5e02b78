package proxy

import (
	"time"

	"loadbalancer/proxy/reason"
)

// retry reports whether an attempt that failed may be made at another backend.
// What came to grief before the first byte of a response may; a response that is
// late may not, because the backend is still at work on it.
//
// An attempt of which no byte was sent (refused, connect timeout, overloaded) put
// no load on any backend: the next one may always be made. Of the others, the
// pool's budget says how many there may be.
func (p *Proxy) retry(x *exchange, why reason.Code) bool {
	switch why {
	case reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset:
	default:
		return false
	}
	if x.tried.n >= x.pool.attempts || !x.repeatable() || !x.pool.hasUntried(&x.tried) {
		return false
	}
	// Not x.started: what began long ago and fails now is load for the backends now.
	if x.unsent || x.pool.budget.spend(time.Now()) {
		return true
	}
	x.pool.metrics.retriesDenied.Add(1)
	return false
}

// repeatable reports whether the request may be sent once more: none of it has
// left, or its effect is the same once or twice, no byte of a response has come and
// the whole request is still at hand.
func (x *exchange) repeatable() bool {
	return x.unsent || x.idempotent() && !x.response.in.any && !x.upload.kept.lost
}

// idempotent reports whether the effect of the request is the same once or twice:
// by its method (RFC 9110, section 9.2.2), or because it has an Idempotency-Key
// and the pool's backends are said to heed it.
func (x *exchange) idempotent() bool {
	switch string(x.request.method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return x.request.keyed && x.pool.idempotencyKey
}
