package limiter

import (
	"slices"
	"sync/atomic"
	"time"
)

// waiter is a request that waits for the central state.
type waiter struct {
	verdict atomic.Uint32
	told    chan struct{}
	next    *waiter
}

// What a waiter hears.
const (
	waits      uint32 = iota
	granted           // it has a token
	denied            // there is none
	unanswered        // the central state did not say, or the request has waited long enough
)

// noWaiter is on top of no other waiter: a tally where it is takes none.
var noWaiter = new(waiter)

// join adds a waiter, unless the tally was dropped.
func (t *tally) join(w *waiter) bool {
	for {
		top := t.waiting.Load()
		if top == noWaiter {
			return false
		}
		w.next = top
		if t.waiting.CompareAndSwap(top, w) {
			return true
		}
	}
}

// leave takes the waiters that still wait, in the order in which they came.
func (t *tally) leave() (all []*waiter) {
	top := t.waiting.Load()
	for top != noWaiter && !t.waiting.CompareAndSwap(top, nil) {
		top = t.waiting.Load()
	}
	for w := top; w != nil && w != noWaiter; w = w.next {
		if w.verdict.Load() == waits {
			all = append(all, w)
		}
	}
	slices.Reverse(all)
	return all
}

// tell wakes the waiter, and reports whether it still waited.
func (w *waiter) tell(verdict uint32) bool {
	told := w.verdict.CompareAndSwap(waits, verdict)
	if told {
		close(w.told)
	}
	return told
}

// wait returns the verdict, and waits for it at most for the given time, as long as the process keeps up.
// One that does not, as amid a burst of thousands of requests, takes in answers late as well.
func (w *waiter) wait(most time.Duration) uint32 {
	timer := time.NewTimer(most)
	defer timer.Stop()
	began := time.Now()
	for due := most; ; {
		select {
		case <-w.told:
			return w.verdict.Load()
		case <-timer.C:
		}
		more := moreWait(most, due, time.Since(began))
		if more == 0 {
			w.verdict.CompareAndSwap(waits, unanswered)
			return w.verdict.Load()
		}
		due += more
		timer.Reset(due - time.Since(began))
	}
}

// An answer takes several steps from goroutine to goroutine, where the waiter's own time-out takes one.
const (
	stepsOfAnswer = 8
	longestWait   = 40 // times the wait
)

// moreWait returns for how much longer a request waits, whose wait is over after due, and which has seen
// that after passed.
func moreWait(most, due, passed time.Duration) time.Duration {
	behind := passed - due
	if behind < most/4 {
		return 0
	}
	return max(0, min(due+stepsOfAnswer*behind, longestWait*most)-due)
}
