package proxy

import (
	"slices"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// mayRetry reports whether a failed attempt may be repeated at another backend. It may if it failed
// before the first byte of a response.
//
// An attempt that sent no byte (refused, connect timeout, overloaded) put no load on any backend
// and may always be repeated. The others are limited by the pool's budget.
func (x *exchange) mayRetry(why reason.Code) bool {
	retry := x.pool.Retry()
	if !mayRepeat(why, retry.Timeouts) || !x.tries.mayRetry(x.pool, retry.Attempts) || !x.repeatable() {
		return false
	}
	// Not when the request began: one that began long ago and fails now puts its load on the
	// backends now.
	return x.call.BytesSent == 0 || x.pool.SpendRetry(time.Now())
}

// mayRetryAnswered reports whether the attempt, whose response has come, is to be repeated at another
// backend because of the response's status. Where the others are full, the client gets the response:
// it has come, and another may not.
func (x *exchange) mayRetryAnswered() bool {
	retry := x.pool.Retry()
	return len(retry.Statuses) > 0 && slices.Contains(retry.Statuses, x.call.Response.Status) &&
		x.tries.mayRetry(x.pool, retry.Attempts) && x.pool.HasRoom(&x.tries.tried) &&
		x.call.RepeatableAnswered(x.idempotent()) && x.pool.SpendRetry(time.Now())
}

// mayRepeat reports whether an attempt that has failed for this reason may be repeated as far as
// the reason goes. A backend whose response is late is still working on it, unless it was taken out: to
// have another work on it too is the operator's choice.
func mayRepeat(why reason.Code, late bool) bool {
	switch why {
	case reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset, reason.BackendOut:
		return true
	case reason.ResponseTimeout:
		return late
	}
	return false
}

// mayRetry reports whether the request may be tried once more, and at another backend.
func (t *tries) mayRetry(p *upstream.Pool, attempts int) bool {
	return t.tried.Len() < attempts && p.HasUntried(&t.tried)
}

// repeatable reports whether the request may be sent again.
func (x *exchange) repeatable() bool { return x.call.Repeatable(x.idempotent()) }

// idempotent reports whether sending the request twice has the same effect as sending it once.
func (x *exchange) idempotent() bool {
	return x.stream.Request.Idempotent(x.pool.Retry().IdempotencyKey)
}
