package balance

import (
	"sync/atomic"
	"time"
)

// Load is what the policies know of a member's work. The zero value is an idle member of which
// nothing is known. It is safe for concurrent use, takes no lock and allocates nothing.
//
// A failed request goes on counting as load, at first as one request in flight, half of that a
// second later, and so on. Otherwise a member that fails at once would always look idle, and draw
// most of the requests. As its failures add up only while it is picked, it ends with as much load
// as the others: it draws a share that is smaller than theirs by the factor between their response
// time and 1.5 seconds.
type Load struct {
	InFlight atomic.Int64 // requests in flight, counted by the caller
	failures fading       // requests that failed lately, in units of 1/oneRequest
}

const (
	oneRequest = 1 << 8         // the scale of requests
	forgotten  = oneRequest / 8 // fewer failures than this count as none
)

// Failed records a request that failed at now.
func (l *Load) Failed(now time.Time) { l.failures.add(oneRequest, instantOf(now)) }

// requests returns the requests in flight and those that failed lately, times oneRequest.
func (l *Load) requests(now time.Time) int64 {
	n := l.InFlight.Load() * oneRequest
	if l.failures.isZero() {
		return n
	}
	if failures := l.failures.at(instantOf(now)); failures >= forgotten {
		n += int64(failures)
	}
	return n
}
