package proxy

import (
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// tries are the attempts of an exchange: the backends that were tried, and the attempt under way.
type tries struct {
	tried    upstream.Tried
	backend  *upstream.Backend // of the last attempt
	began    time.Time         // the last attempt
	conn     *upstream.Conn    // of the attempt under way; nil once it was given back
	full     int               // attempts that a full backend did not take
	again    bool              // no other backend is left for the next attempt
	repeats  int               // attempts at backends that had been tried before
	trial    bool              // no backend of the pool takes requests: see upstream.Pool.Pick
	open     bool              // the attempt counts as in flight at the backend
	reserved bool              // the attempt has a place among the requests that wait at the backend
	awaits   bool              // the request was sent, and waits for the header of the final response
	client   uint64            // whose that request is
}

// mustLeave reports whether the picked backend does not serve the request any more.
func (t *tries) mustLeave(pool *upstream.Pool, kept *upstream.Backend) bool {
	return !t.trial && !t.serves(pool, kept)
}

// serves reports whether the picked backend takes requests or, if it is drained, those of the
// client. kept is the one that the client is kept at, or nil.
func (t *tries) serves(pool *upstream.Pool, kept *upstream.Backend) bool {
	return t.backend.TakesRequests() || kept == t.backend && pool.Keeps(t.backend)
}

// begin begins the attempt at the picked backend. The time is that of the request where no time has
// passed since: reading the clock has a price.
func (t *tries) begin(s *ends.Exchange) {
	t.open, t.awaits, t.began = true, false, s.Started
	if t.tried.Len() > 1 || s.Request.Framing != message.NoBody {
		t.began = time.Now()
	}
}

// forget lets the request be tried at all backends, as if none had refused it.
func (t *tries) forget() {
	t.tried.Forget()
	t.again = false
}

// respond notes that the final response's header has come. It records the time that the backend
// took for it, if the log will have the attempt.
func (t *tries) respond(p *upstream.Pool) {
	t.unreserve(p)
	if t.awaits {
		t.awaits = false
		t.backend.HeaderCame(t.client)
	} else {
		t.backend.Heard()
	}
	if t.tried.Len() > 1 {
		t.tried.Last().Took = time.Since(t.began)
	}
}

// end ends the attempt, in which the backend has sent a status or none (0).
func (t *tries) end(p *upstream.Pool, status int, why reason.Code) {
	t.open = false
	t.unreserve(p)
	if why == reason.Overloaded {
		t.full++
	}
	last := t.tried.Last()
	last.Status, last.Reason = status, why
	if why != reason.None {
		last.Took = time.Since(t.began)
	}
}

// unreserve gives back the place at the backend, if the attempt has one, to a request that waits.
func (t *tries) unreserve(p *upstream.Pool) {
	if !t.reserved {
		return
	}
	t.reserved = false
	t.backend.Unreserve()
	if p.HasQueue() {
		p.Freed(true)
	}
}

// outcome returns the reason that the client gets for the last attempt's. A trial that has not
// reached its backend has only shown that none is available.
func (t *tries) outcome(why reason.Code) reason.Code {
	if t.trial && (why == reason.ConnectFailed || why == reason.ConnectTimeout) {
		return reason.NoBackend
	}
	return why
}

// failed reports whether an attempt has failed.
func (t *tries) failed() bool {
	n := t.tried.Len()
	return n > 1 || n == 1 && t.tried.Last().Reason != reason.None
}
