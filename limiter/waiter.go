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

// wait returns the verdict.
func (w *waiter) wait(most time.Duration) uint32 {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-w.told:
	case <-timer.C:
		w.verdict.CompareAndSwap(waits, unanswered)
	}
	return w.verdict.Load()
}
