package proxy

import (
	"time"

	"loadbalancer/proxy/reason"
)

// retry reports whether a failed attempt may be repeated at another backend. It may if it failed
// before the first byte of a response. It may not if the response is late, because the backend is
// still working on it.
//
// An attempt that sent no byte (refused, connect timeout, overloaded) put no load on any backend
// and may always be repeated. The others are limited by the pool's budget.
func (p *Proxy) retry(x *exchange, why reason.Code) bool {
	switch why {
	case reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset:
	default:
		return false
	}
	if x.tried.Len() >= x.pool.Retry().Attempts || !x.repeatable() || !x.pool.HasUntried(&x.tried) {
		return false
	}
	// Not x.started: a request that began long ago and fails now puts its load on the backends now.
	return x.unsent || x.pool.SpendRetry(time.Now())
}

// repeatable reports whether the request may be sent again: either none of it was sent, or it is
// idempotent, no byte of a response has come, and the whole request is still available.
func (x *exchange) repeatable() bool {
	return x.unsent || x.idempotent() && !x.response.in.any && !x.upload.kept.lost
}

// idempotent reports whether sending the request twice has the same effect as sending it once.
func (x *exchange) idempotent() bool { return x.request.Idempotent(x.pool.Retry().IdempotencyKey) }
