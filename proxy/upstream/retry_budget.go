package upstream

import (
	"sync/atomic"
	"time"
)

// Limits of a pool's retries. The share is the extra load that backends must be able to bear; the
// floor lets a pool with few requests retry at all.
const (
	retryWindow  = 10 // seconds, the current one included
	retryShare   = 5  // one retry for this many requests of the window: 20 %
	retryFloor   = 10 // retries allowed in every second, whatever the share
	budgetLength = 16 // seconds that are kept: the window, and some slack for late callers
)

// retryBudget keeps retries from multiplying the load of a pool whose backends all fail. It allows
// one retry for every retryShare requests, or retryFloor a second, whichever is more; the figures
// are those of Finagle's RetryBudget. It is safe for concurrent use and takes no lock.
type retryBudget struct {
	start time.Time // seconds are counted from here, by the monotonic clock

	_        [64]byte // the fields below change with every request
	requests perSecond
	retries  perSecond
	_        [64]byte
}

// request counts a request that began at this time.
func (b *retryBudget) request(began time.Time) { b.requests.add(b.second(began)) }

// spend counts a retry and returns true, or returns false if none is allowed now. The count of each
// second is exact, even with concurrent callers.
func (b *retryBudget) spend(now time.Time) bool {
	second := b.second(now)
	slot := b.retries.slot(second)
	for {
		v := slot.Load()
		if v>>32 > second {
			return false // too late: its second is no longer kept
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

// perSecond counts events by second, for the last budgetLength seconds. A slot is second<<32 |
// count.
type perSecond [budgetLength]atomic.Uint64

func (c *perSecond) slot(second uint64) *atomic.Uint64 { return &c[second%budgetLength] }

// add counts one event. An event more than budgetLength seconds late is dropped.
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

// sum returns the number of events from second first up to, but not including, second end.
func (c *perSecond) sum(first, end uint64) (n uint64) {
	for second := first; second < end; second++ {
		n += countIn(c.slot(second).Load(), second)
	}
	return n
}

// countIn returns the count of a slot, or 0 if the slot holds another second.
func countIn(slot, second uint64) uint64 {
	if slot>>32 != second {
		return 0
	}
	return slot & (1<<32 - 1)
}
