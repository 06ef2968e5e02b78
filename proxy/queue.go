package proxy

import (
	"fmt"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// queued is a request's wait for a backend that has room.
type queued struct {
	until  time.Time // when it ends; zero: the request has not waited
	passed bool      // it has had its turn
}

// mustWait reports whether a request has to wait before its first attempt, because others do.
func (q *queued) mustWait(p *upstream.Pool, t *tries) bool {
	return p.HasQueue() && p.Queue().Size > 0 && !q.passed && t.tried.Len() == 0
}

// mayWait reports whether the request waits for a backend after what it met: all are full or out,
// or refuse it. It must not if a backend has taken a byte of it and it may not be repeated.
func (x *exchange) mayWait(why reason.Code) bool {
	if x.pool.Queue().Size == 0 || !x.repeatable() || x.tries.tried.Taken() >= x.pool.Retry().Attempts {
		return false
	}
	switch why {
	case reason.Overloaded:
		return true
	case reason.NoBackend, reason.ConnectFailed, reason.ConnectTimeout, reason.BackendReset:
		return !x.pool.HasUntried(&x.tries.tried) && (x.call.BytesSent == 0 || x.pool.SpendRetry(time.Now()))
	}
	return false
}

// wait returns reason.None once it is the request's turn to be sent to a backend of the pool.
// client stands for its client. A body that is to be read before a backend is asked is read first:
// a turn must not pass while a slow client sends.
func (q *queued) wait(p *upstream.Pool, s ends.Stream, client uint64) reason.Code {
	if why := s.Prefetch(requestBuffer(s.Request.GRPC, p)); why != reason.None {
		return why
	}
	c, now := p.Queue(), time.Now()
	if q.until.IsZero() {
		q.until = now.Add(c.Timeout)
	}
	w := upstream.NewWaiter(p.IsFull())
	if !p.Enter(w, client, q.passed) {
		s.Cause = fmt.Errorf("every backend is full or out, and %d requests wait already", c.Size)
		return reason.Overloaded
	}
	came, gone := s.Await(w.Turn, w, q.until.Sub(now))
	if gone {
		if !p.Leave(w) {
			p.Freed(false) // it was its turn
		}
		return reason.ClientGone
	}
	if !came && p.Leave(w) {
		s.Cause = fmt.Errorf("every backend was full or out for %s", c.Timeout)
		return reason.Overloaded
	}
	q.passed = true
	return reason.None
}
