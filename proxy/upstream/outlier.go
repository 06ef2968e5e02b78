package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/reason"
)

// Result is what an attempt met at its backend.
type Result struct {
	Status int         // of the response, or 0
	Reason reason.Code // why the attempt failed; reason.None: it has not
	Cause  error       // that, in words; may be nil
	// Waited is the time from the request, once it was sent, to the response's header, or 0.
	Waited time.Duration
	Client uint64    // stands for the client, for one behind IPv6 for its network
	Began  time.Time // the request
}

// failed reports whether the backend has failed the request: it was not reached, gave no whole
// response, or one that says that a server behind it has failed. Where it was not asked, was taken
// out before, or this machine could not ask it, it had no chance.
func (r *Result) failed() bool {
	if r.Reason == reason.Overloaded || r.Reason == reason.BackendOut || r.Reason == reason.ConnectFailed && healthz.OwnFault(r.Cause) {
		return false
	}
	return ofBackend(r.Reason) || r.Status >= 502 && r.Status <= 504
}

// client returns the client that may have caused a failure.
func (r *Result) client() uint64 {
	if r.Reason == reason.ConnectFailed || r.Reason == reason.ConnectTimeout {
		return healthz.AnyClient
	}
	return r.Client
}

// error returns what a failure was, as of now.
func (r *Result) error() lastError {
	return lastError{at: time.Now(), status: r.Status, why: r.Reason, cause: r.Cause}
}

// outlier is what the requests of one backend have met, for its ejection. It is safe for concurrent
// use, and takes a lock only where a request has failed, or the one before it has.
type outlier struct {
	// asked has the requests that wait for a response's header in its low half, and in its high
	// half the headers and other signs of life that have come.
	asked    atomic.Uint64
	failing  atomic.Bool            // the streak of failures is not 0
	confirms atomic.Bool            // see Pool.confirm
	returned atomic.Pointer[sample] // of when the backend has come back, since the watch looked; or nil
	served   recentClients          // those that were answered
	waiters  waiters                // those whose requests wait for a header
	failed   turns                  // of answers with a 5xx status, and failures

	mu      sync.Mutex
	ejector healthz.Ejector // guarded by mu
	last    lastError       // guarded by mu
	window  window          // used by the watch alone
}

// wait counts a request of the client that waits for a response's header.
func (o *outlier) wait(client uint64) {
	o.asked.Add(1)
	o.waiters.of(client).Add(1)
}

// headerCame counts a header that has come for one of them.
func (o *outlier) headerCame(client uint64) {
	o.asked.Add(1<<32 - 1)
	o.waiters.of(client).Add(-1)
}

// heard counts another sign of life.
func (o *outlier) heard() { o.asked.Add(1 << 32) }

// noHeader counts one of them for which none came.
func (o *outlier) noHeader(client uint64) {
	o.asked.Add(^uint64(0))
	o.waiters.of(client).Add(-1)
}

// waiting returns how many requests wait, and how many signs of life there were.
func (o *outlier) waiting() (requests int, signs uint32) {
	asked := o.asked.Load()
	return int(int32(asked)), uint32(asked >> 32)
}

// success notes an answer, and failure a request that has failed because of the backend, which it
// reports if that is reason to eject it.
func (o *outlier) success(r *Result, at int64) {
	if r.Status >= 500 {
		o.failed.note(r.Client)
		o.noteError(r.error())
	} else {
		o.served.note(r.Client, at)
	}
	if o.failing.Load() {
		o.mu.Lock()
		o.ejector.Success()
		o.failing.Store(false)
		o.mu.Unlock()
	}
}

func (o *outlier) failure(c *healthz.Ejection, r *Result, othersServed bool) (streak int, eject bool) {
	client := r.client()
	o.failed.note(client)
	last := r.error()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = last
	eject = o.ejector.Failure(c, client, r.Began, othersServed)
	o.failing.Store(true)
	return o.ejector.Streak(), eject
}

// failures returns the last error, and how many requests have failed in a row.
func (o *outlier) failures() (last lastError, streak int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.ejector.Streak()
}

// until returns when the last ejection ends or has ended.
func (o *outlier) until() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ejector.Until()
}

// mayReturn reports whether the ejection is over.
func (o *outlier) mayReturn(now time.Time) bool { return !now.Before(o.until()) }

// noteError notes an error.
func (o *outlier) noteError(e lastError) {
	o.mu.Lock()
	o.last = e
	o.mu.Unlock()
}

// waiters are how many requests of each client wait. Clients share a few counts, so that some count
// as one. It is safe for concurrent use.
type waiters [64]atomic.Int32

// of returns the count of a client.
func (w *waiters) of(client uint64) *atomic.Int32 { return &w[client%uint64(len(w))] }

// most returns a client, or one that counts as the same, of which most requests wait, and how many
// wait that are not its.
func (w *waiters) most() (client uint64, others int) {
	all, most := 0, 0
	for i := range w {
		n := int(w[i].Load())
		if all += n; n > most {
			client, most = uint64(i), n
		}
	}
	return client, all - most
}

// turns counts how often the client changes in a row of events. At least half as many of the
// events, rounded down, are not of any one client. Events that no client can cause each count as a
// change. It is safe for concurrent use.
type turns struct {
	last atomic.Uint64 // the client of the last event; 0: there was none, or no client can have caused it
	n    atomic.Uint64
}

func (t *turns) note(client uint64) {
	if client != healthz.AnyClient && t.last.Load() == client {
		return // Fast path: nothing is written
	}
	if before := t.last.Swap(client); before != healthz.AnyClient && before != client || client == healthz.AnyClient {
		t.n.Add(1)
	}
}

// lately is how long ago a client was served lately, and fresh is how exact that is.
const (
	lately = int64(10 * time.Second)
	fresh  = int64(time.Second)
)

// recentClients holds two clients that were seen lately, which is enough to know whether one was
// that is not a given third. It is safe for concurrent use; races cost a moment of exactness. Once
// it has two, noting more writes nothing for a second.
type recentClients [2]struct {
	client atomic.Uint64
	at     atomic.Int64 // nanoseconds of the pool's time; 0: never
}

func (s *recentClients) note(client uint64, at int64) {
	oldest := &s[0]
	for i := range s {
		c := &s[i]
		if c.client.Load() == client && c.at.Load() != 0 {
			if at-c.at.Load() > fresh {
				c.at.Store(at)
			}
			return
		}
		if c.at.Load() < oldest.at.Load() {
			oldest = c
		}
	}
	if last := oldest.at.Load(); last == 0 || at-last > fresh {
		oldest.client.Store(client)
		oldest.at.Store(at)
	}
}

// other reports whether another client was seen lately.
func (s *recentClients) other(client uint64, at int64) bool {
	return s.seen(at, func(c uint64) bool { return c != client })
}

// otherCount reports whether a client was seen lately that does not share its count of waiters with
// this one.
func (s *recentClients) otherCount(client uint64, at int64) bool {
	const counts = uint64(len(waiters{}))
	return s.seen(at, func(c uint64) bool { return c%counts != client%counts })
}

func (s *recentClients) seen(at int64, is func(client uint64) bool) bool {
	for i := range s {
		if seen := s[i].at.Load(); seen != 0 && at-seen < lately && is(s[i].client.Load()) {
			return true
		}
	}
	return false
}
