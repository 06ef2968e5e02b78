package load

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// timerSlack is how late a timer may wake a connection that was free in time. Such a delay is the
// clock's fault, not the server's, and is not counted: a waiting process is woken up to a
// millisecond late, and then waits for its turn.
const timerSlack = 2 * time.Millisecond

// schedule hands out the requests of a run, each to the first free connection. Times count from the
// start of the run. It is safe for concurrent use and takes no lock.
type schedule struct {
	requests int64         // how many there are; 0 means no limit
	duration time.Duration // no request starts after it; 0 means no limit
	rate     float64       // requests per second; 0 means at once (closed loop)

	next    atomic.Int64
	stopped atomic.Bool
}

// stop ends the schedule: take hands out no more.
func (s *schedule) stop() { s.stopped.Store(true) }

// take hands out the next request. due is when it should start. ok is false if none is left.
func (s *schedule) take(now time.Duration) (due time.Duration, ok bool) {
	if s.stopped.Load() || s.duration > 0 && now >= s.duration {
		return 0, false
	}
	i := s.next.Add(1) - 1
	if s.requests > 0 && i >= s.requests {
		return 0, false
	}
	if s.rate == 0 {
		return now, true
	}
	due = time.Duration(float64(i) / s.rate * float64(time.Second))
	return due, s.duration == 0 || due < s.duration
}

// await waits until a request is due, and returns the time from which its latency counts: when it
// was due, so that a wait for a free connection is included. It returns false if ctx ended first.
func (s *schedule) await(ctx context.Context, timer *time.Timer, begun time.Time, due time.Duration) (time.Duration, bool) {
	wait := due - time.Since(begun)
	if wait <= 0 {
		return due, true
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, false
	}
	if now := time.Since(begun); now-due <= timerSlack {
		return now, true
	}
	return due, true
}

// due returns the number of requests that should have started by now, or 0 in a closed loop.
func (s *schedule) due(now time.Duration) int64 {
	if s.rate == 0 {
		return 0
	}
	if s.duration > 0 {
		now = min(now, s.duration)
	}
	n := int64(math.Ceil(now.Seconds() * s.rate))
	if s.requests > 0 {
		n = min(n, s.requests)
	}
	return n
}
