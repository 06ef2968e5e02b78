package proxy

import (
	"sync/atomic"
	"time"
)

// The bounds of a pool's retries. The share is what backends must be able to bear
// on top of their load; the floor lets a pool with few requests retry at all.
const (
	retryWindow  = 10 // seconds, the present one included
	retryShare   = 5  // one retry for so many requests of the window: 20 %
	retryFloor   = 10 // retries that every second may have, whatever the share
	budgetLength = 16 // seconds that are kept: the window, and room for who is late
)

// retryBudget keeps retries from multiplying the load of a pool whose backends
// all fail: they may be retryShare of its requests or retryFloor a second,
// whichever is more; the figures are those of Finagle's RetryBudget. It is safe for
// concurrent use and takes no lock.
type retryBudget struct {
	start time.Time // seconds are counted from here, by the monotonic clock

	_        [64]byte // what follows changes with every request
	requests perSecond
	retries  perSecond
	_        [64]byte
}

// request counts a request that began at this time.
func (b *retryBudget) request(began time.Time) { b.requests.add(b.second(began)) }

// spend counts a retry and returns true, or false where there may be none now. The
// retries of one second are counted exactly, whoever asks at the same time.
func (b *retryBudget) spend(now time.Time) bool {
	second := b.second(now)
	slot := b.retries.slot(second)
	for {
		v := slot.Load()
		if v>>32 > second {
			return false // so late that its second is no longer kept
		}
		spent := countIn(v, second)
		if spent >= retryFloor {
			first := second - min(second, retryWindow-1)
			retries := b.retries.sum(first, second) + spent + 1
			if retries*retryShare > b.requests.sum(first, second+1) {
				return false
			}
		}
		if slot.CompareAndSwap(v, second<<32|(spent+1)) {
			return true
		}
	}
}

func (b *retryBudget) second(now time.Time) uint64 {
	return uint64(now.Sub(b.start) / time.Second)
}

// perSecond counts events by the second in which they happened, for the last
// budgetLength seconds. A slot is second<<32 | count.
type perSecond [budgetLength]atomic.Uint64

func (c *perSecond) slot(second uint64) *atomic.Uint64 { return &c[second%budgetLength] }

// add counts one event. One that is later than budgetLength seconds is dropped.
func (c *perSecond) add(second uint64) {
	slot := c.slot(second)
	for {
		v := slot.Load()
		switch {
		case v>>32 == second: // Fast path
			slot.Add(1)
			return
		case v>>32 > second, slot.CompareAndSwap(v, second<<32|1):
			return
		}
	}
}

// sum is how many events happened from the first second up to, but not in, the end.
func (c *perSecond) sum(first, end uint64) (n uint64) {
	for second := first; second < end; second++ {
		n += countIn(c.slot(second).Load(), second)
	}
	return n
}

// countIn is the count of a slot, if it holds that second.
func countIn(slot, second uint64) uint64 {
	if slot>>32 != second {
		return 0
	}
	return slot & (1<<32 - 1)
}
