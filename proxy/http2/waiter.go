package http2

import "time"

// waiter lets one goroutine wait for another, which calls wake. It is made by newWaiter.
type waiter struct {
	woken chan struct{}
	timer *time.Timer // nil before the first wait
}

func newWaiter() waiter { return waiter{woken: make(chan struct{}, 1)} }

// wait returns after the next wake, or one that has come already: the caller looks whether it was
// for what it waits for. ok is false after the timeout.
func (w *waiter) wait(timeout time.Duration) (ok bool) {
	if w.timer == nil {
		w.timer = time.NewTimer(timeout)
	} else {
		w.timer.Reset(timeout)
	}
	select {
	case <-w.woken:
		w.timer.Stop()
		return true
	case <-w.timer.C:
		return false
	}
}

// wake ends a wait. It does not block.
func (w *waiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// forget drops a wake for which nothing has waited.
func (w *waiter) forget() {
	select {
	case <-w.woken:
	default:
	}
}
