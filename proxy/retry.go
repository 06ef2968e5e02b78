package proxy

import (
	"math/rand/v2"
	"slices"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// mayRetry reports whether a failed attempt may be repeated, at another backend if there is one. It
// may if it failed before the first byte of a response.
//
// An attempt that sent no byte (refused, connect timeout, overloaded) put no load on any backend
// and may always be repeated. The others are limited by the pool's budget.
func (x *exchange) mayRetry(why reason.Code) bool {
	retry := x.pool.Retry()
	if !mayRepeat(why, retry.Timeouts) || !x.tries.mayRetry(x.pool, why, retry.Attempts) || !x.repeatable() {
		return false
	}
	if x.tries.again && x.pool.Queue().Size > 0 {
		return false // it would wait in the queue, if it might: see mayWait
	}
	// Not when the request began: one that began long ago and fails now puts its load on the
	// backends now.
	return x.call.BytesSent == 0 || x.pool.SpendRetry(time.Now())
}

// mayRetryAnswered reports whether the attempt, whose response has come, is to be repeated because
// of the response's status. Where there are other backends and all are full, the client gets the
// response: it has come, and another may not.
func (x *exchange) mayRetryAnswered() bool {
	retry, t := x.pool.Retry(), &x.tries
	return len(retry.Statuses) > 0 && slices.Contains(retry.Statuses, x.call.Response.Status) &&
		t.mayRetry(x.pool, reason.StatusRefused, retry.Attempts) && (t.again || x.pool.HasRoom(&t.tried)) &&
		x.call.RepeatableAnswered(x.idempotent()) && x.pool.SpendRetry(time.Now())
}

// mayRepeat reports whether an attempt that has failed for this reason may be repeated as far as
// the reason goes. A backend whose response is late is still working on it, unless it was taken
// out: to have another work on it too is the operator's choice.
func mayRepeat(why reason.Code, late bool) bool {
	switch why {
	case reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset, reason.BackendOut:
		return true
	case reason.ResponseTimeout:
		return late
	}
	return false
}

// repeatsHere reports whether an attempt that has failed for this reason may be repeated at the
// same backend, where there is no other: one that has refused or closed may be about to restart.
// One that is full, late or out will hardly be better in a moment.
func repeatsHere(why reason.Code) bool {
	return why == reason.ConnectFailed || why == reason.BackendReset || why == reason.StatusRefused
}

// mayRetry reports whether the request may be tried once more, after an attempt that has failed for
// this reason, and notes where. A backend that was full has not tried it.
func (t *tries) mayRetry(p *upstream.Pool, why reason.Code, attempts int) bool {
	if n := t.tried.Len(); n-t.full >= attempts || n == upstream.MaxTried {
		return false
	}
	t.again = !p.HasUntried(&t.tried)
	return !t.again || repeatsHere(why) && p.TakesRequests()
}

// pickAgain waits, and returns a backend that the request has tried before, if no other has come up
// meanwhile. gone reports whether the client has left instead.
func (t *tries) pickAgain(p *upstream.Pool, s ends.Stream, key uint64) (b *upstream.Backend, gone bool) {
	w := upstream.NewWaiter(false)
	if _, gone = s.Await(w.Turn, w, pauseBefore(t.repeats, rand.Float64())); gone {
		return nil, true
	}
	t.repeats++
	if b = p.Pick(key, s.Started, &t.tried); b == nil {
		b = p.PickAgain(s.Started, &t.tried)
	}
	return b, false
}

// The pause before the first repetition at a backend, and the longest without what is added at
// random.
const (
	firstPause   = 25 * time.Millisecond
	longestPause = 800 * time.Millisecond
)

// pauseBefore returns how long to wait before another repetition at a backend, twice as long as
// before the last one. Up to half of it is added at random, from 0 to 1: requests that fail
// together shall not come back together.
func pauseBefore(repeats int, random float64) time.Duration {
	pause := min(firstPause<<min(repeats, 16), longestPause)
	return pause + time.Duration(random*float64(pause)/2)
}

// repeatable reports whether the request may be sent again.
func (x *exchange) repeatable() bool { return x.call.Repeatable(x.idempotent()) }

// idempotent reports whether sending the request twice has the same effect as sending it once.
func (x *exchange) idempotent() bool {
	return x.stream.Request.Idempotent(x.pool.Retry().IdempotencyKey)
}
