package proxy

import (
	"time"

	"loadbalancer/proxy/reason"
)

// mayRetry reports whether a failed attempt may be repeated at another backend. It may if it failed
// before the first byte of a response. It may not if the response is late, because the backend is
// still working on it, unless the backend was taken out.
//
// An attempt that sent no byte (refused, connect timeout, overloaded) put no load on any backend
// and may always be repeated. The others are limited by the pool's budget.
func (x *exchange) mayRetry(why reason.Code) bool {
	switch why {
	case reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset, reason.BackendOut:
	default:
		return false
	}
	if x.tries.tried.Len() >= x.pool.Retry().Attempts || !x.repeatable() || !x.pool.HasUntried(&x.tries.tried) {
		return false
	}
	// Not when the request began: one that began long ago and fails now puts its load on the
	// backends now.
	return x.call.BytesSent == 0 || x.pool.SpendRetry(time.Now())
}

// repeatable reports whether the request may be sent again.
func (x *exchange) repeatable() bool { return x.call.Repeatable(x.idempotent()) }

// idempotent reports whether sending the request twice has the same effect as sending it once.
func (x *exchange) idempotent() bool {
	return x.stream.Request.Idempotent(x.pool.Retry().IdempotencyKey)
}
