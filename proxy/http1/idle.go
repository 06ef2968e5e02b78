package http1

import (
	"sync/atomic"
	"time"
)

// idleness is since when no exchange is under way on a client's connection: from its beginning or
// the end of an exchange to the first byte of the next request. The goroutine that serves the
// connection calls begin and end, and any other evict. The zero value is busy.
type idleness struct{ since atomic.Int64 } // Unix nanoseconds, or one of:

const (
	busy    int64 = 0
	evicted int64 = -1
)

// begin makes a busy connection idle.
func (i *idleness) begin(at time.Time) {
	if i.since.Load() == busy {
		i.since.CompareAndSwap(busy, at.UnixNano())
	}
}

// end makes the connection busy. ok is false if it was evicted.
func (i *idleness) end() (ok bool) {
	since := i.since.Load()
	return since == busy || since != evicted && i.since.CompareAndSwap(since, busy)
}

// evict ends the use of a connection that is idle since then, and reports whether it still was.
func (i *idleness) evict(since int64) (ok bool) { return i.since.CompareAndSwap(since, evicted) }

// draws is how many connections are drawn at random to find one that has been idle for long.
const draws = 16

// longestIdle returns which of n connections has been idle for longest, among those drawn or, where
// none of these is idle, the first idle one behind another that is drawn. It returns -1 if none is
// idle. since is that of idleness, and draw a random number below n.
func longestIdle(n int, since func(at int) int64, draw func(n int) int) (at int) {
	at = -1
	if n == 0 {
		return at
	}
	longest := int64(0)
	for range draws {
		drawn := draw(n)
		if s := since(drawn); s > 0 && (at < 0 || s < longest) {
			at, longest = drawn, s
		}
	}
	for i, first := 0, draw(n); at < 0 && i < n; i++ {
		if next := (first + i) % n; since(next) > 0 {
			at = next
		}
	}
	return at
}
