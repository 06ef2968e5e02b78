package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/metrics"
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
// response, or one that says that a server behind it has failed. Where it was not asked, or was
// taken out before, it had no chance.
func (r *Result) failed() bool {
	if r.Reason == reason.Overloaded || r.Reason == reason.BackendOut {
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
	asked   atomic.Uint64
	failing atomic.Bool   // the streak of failures is not 0
	served  recentClients // those that were answered
	askers  recentClients // those whose requests waited for a header

	lastFailed  atomic.Uint64 // the client of the last answer with a 5xx status, or of the last failure
	failedTurns atomic.Uint64 // of these, those of another client than the one before

	mu      sync.Mutex
	ejector healthz.Ejector // guarded by mu
	last    lastError       // guarded by mu
	window  window          // used by the watch alone
}

// wait counts a request of the client that waits for a response's header.
func (o *outlier) wait(client uint64, at int64) {
	o.asked.Add(1)
	o.askers.note(client, at)
}

// waitsForOne reports whether the requests that have come since the backend is silent are all of
// one client, while others were served shortly before.
func (o *outlier) waitsForOne(at int64) bool {
	since := int64(o.window.silent+1) * int64(watchInterval)
	last := o.askers.last()
	return !o.askers.other(last, at, since) && o.served.other(last, at, lately)
}

// headerCame counts a header that has come for one of them.
func (o *outlier) headerCame() { o.asked.Add(1<<32 - 1) }

// heard counts another sign of life.
func (o *outlier) heard() { o.asked.Add(1 << 32) }

// noHeader counts one of them for which none came.
func (o *outlier) noHeader() { o.asked.Add(^uint64(0)) }

// waiting returns how many requests wait, and how many signs of life there were.
func (o *outlier) waiting() (requests int, signs uint32) {
	asked := o.asked.Load()
	return int(int32(asked)), uint32(asked >> 32)
}

// success notes an answer, and failure a request that has failed because of the backend, which it
// reports if that is reason to eject it.
func (o *outlier) success(r *Result, at int64) {
	if r.Status >= 500 {
		o.noteFailed(r.Client)
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

func (o *outlier) failure(c *healthz.Ejection, r *Result, at int64) (streak int, eject bool) {
	client := r.client()
	o.noteFailed(client)
	last := r.error()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = last
	eject = o.ejector.Failure(c, client, r.Began, o.served.other(client, at, lately))
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
func (o *outlier) mayReturn(now time.Time) bool {
	return !now.Before(o.until())
}

// noteError notes an error.
func (o *outlier) noteError(e lastError) {
	o.mu.Lock()
	o.last = e
	o.mu.Unlock()
}

// noteFailed notes the client of a request that counts as answered with a 5xx status.
func (o *outlier) noteFailed(client uint64) {
	if o.lastFailed.Swap(client) != client || client == healthz.AnyClient {
		o.failedTurns.Add(1)
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

// other reports whether another client was seen within this time.
func (s *recentClients) other(client uint64, at, within int64) bool {
	for i := range s {
		if seen := s[i].at.Load(); seen != 0 && at-seen < within && s[i].client.Load() != client {
			return true
		}
	}
	return false
}

// last returns the client that was noted last.
func (s *recentClients) last() uint64 {
	if s[1].at.Load() > s[0].at.Load() {
		return s[1].client.Load()
	}
	return s[0].client.Load()
}

// watchInterval is how often the backends are compared; silenceTicks and windowTicks are how long
// silence lasts that counts, and the window of answers, in such intervals.
const (
	watchInterval = 250 * time.Millisecond
	silenceTicks  = 8
	windowTicks   = 40
)

// window holds samples of the counters of one backend, the oldest of which is next to be replaced.
type window struct {
	samples [windowTicks]sample
	silent  int // intervals without a sign of life
	signs   uint32
	answers healthz.Answers
	waiting int
}

// sample are counters at one time.
type sample struct{ all, failed, turns uint64 }

// take takes another sample, the n-th, from the counters of the backend's responses.
func (o *outlier) take(n int, codes *metrics.Codes) {
	w := &o.window
	now := sample{turns: o.failedTurns.Load()}
	codes.Each(func(status int, n uint64) {
		now.all += n
		if status >= 500 {
			now.failed += n
		}
	})
	oldest := &w.samples[n%windowTicks]
	w.answers = healthz.Answers{All: int(now.all - oldest.all), Failed: int(now.failed - oldest.failed), Turns: int(now.turns - oldest.turns)}
	*oldest = now
	var signs uint32
	w.waiting, signs = o.waiting()
	if w.silent++; signs != w.signs {
		w.silent, w.signs = 0, signs
	}
}
