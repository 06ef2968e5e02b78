package limiter

import (
	"math"
	"sync/atomic"
)

// full is the state of a new bucket.
const full = 1

// closed is the bit set in the state of a bucket that has moved or was deleted. The other bits keep
// its final state.
const closed = math.MinInt64

// takeFrom takes a token from a shared bucket. It returns false if the bucket is closed.
func takeFrom(state *atomic.Int64, now int64, r *rates) (outcome, bool) {
	for {
		tat := state.Load()
		if tat < 0 {
			return outcome{}, false
		}
		o := take(tat, now, r)
		if !o.allowed || state.CompareAndSwap(tat, o.tat) {
			return o, true
		}
	}
}

// raise raises the debt of a shared bucket to at least that of the floor, which is a state. It
// returns false if the bucket is closed.
func raise(state *atomic.Int64, floor int64) bool {
	for {
		tat := state.Load()
		if tat < 0 {
			return false
		}
		if tat >= floor || state.CompareAndSwap(tat, floor) {
			return true
		}
	}
}

// replace makes the state of a shared bucket another one, unless it is not open yet. It returns false
// if the bucket is closed.
func replace(state *atomic.Int64, tat int64) bool {
	for {
		old := state.Load()
		if old < 0 {
			return false
		}
		if old == 0 || state.CompareAndSwap(old, tat) {
			return true
		}
	}
}
