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
	response fading       // a moving average of the response time, see Answered; 0: none was measured
}

const (
	oneRequest   = 1 << 8         // the scale of requests
	forgotten    = oneRequest / 8 // fewer failures than this count as none
	responseBits = 8              // the logarithm of the unit of response times, in nanoseconds
	sampled      = 4              // the time between two samples of a response time, 17 ms
)

// failedTook is the most that failures alone raise the response time to.
const failedTook = time.Second

// Failed records a request that failed at now, after some time. What fails at once is not fast: each
// failure doubles the response time, up to a second. So a member that fails every request soon gets
// hardly any, and one failure, which may be the client's own, costs it little.
func (l *Load) Failed(now, took time.Duration) {
	at := instantOf(now)
	l.failures.add(oneRequest, at)
	average, since := unpack(l.response.word.Load())
	slow := min(2*fade(average, elapsed(since, at)), uint64(failedTook)>>responseBits)
	l.Answered(now, max(took, time.Duration(slow<<responseBits)))
}

// Answered records at now how long a response took, to its header. A longer time than the average
// becomes the average at once. Shorter ones bring it down, by half in a second. Since one in 17 ms
// is enough for that, most requests write nothing.
//
// This is the peak EWMA of Finagle (com.twitter.finagle.loadbalancer.PeakEwma), with a half-life of
// one second where Finagle has seven.
func (l *Load) Answered(now, took time.Duration) {
	at := instantOf(now)
	value := min(max(1, uint64(max(0, took))>>responseBits), maxValue)
	for {
		old := l.response.word.Load()
		average, since := unpack(old)
		after := elapsed(since, at)
		if value <= average && after < sampled {
			return
		}
		next := value
		if value < average {
			next += fade(average-value, after)
		}
		if l.response.word.CompareAndSwap(old, pack(next, max(since, at))) {
			return
		}
	}
}

// requests returns the requests in flight and those that failed lately, times oneRequest.
func (l *Load) requests(now time.Duration) int64 {
	n := l.InFlight.Load() * oneRequest
	if !l.failures.isZero() {
		n += l.failed(now)
	}
	return n
}

// failed returns the requests that failed lately, times oneRequest. It is not inlined, so that
// requests is: most members have not failed.
//
//go:noinline
func (l *Load) failed(now time.Duration) int64 {
	n := l.failures.at(instantOf(now))
	if n < forgotten {
		return 0
	}
	return int64(n)
}

// standing returns what requests returns, and the response time in units of 1<<responseBits
// nanoseconds. A member of which nothing is known takes for ever, but nothing while it is idle:
// it gets one request, and no other before that has been answered. So that a slow member is tried
// again, the time fades while none is measured, until nothing is known; with requests in flight it
// does so slowly, since a member that hangs is not measured, either.
func (l *Load) standing(now time.Duration) (n int64, took uint64) {
	n = l.InFlight.Load() * oneRequest
	if !l.failures.isZero() {
		n += l.failed(now)
	}
	average, since := unpack(l.response.word.Load())
	after := elapsed(since, instantOf(now))
	if n > 0 {
		after >>= slowBits
	}
	if average == 0 || after >= unknown {
		return n, uint64(n) << unknownBits
	}
	return n, 1 + fade(average, after)
}

const (
	unknownBits = valueBits - 8 // makes one request, in units of 1/oneRequest, take for ever

	unknown  = 8 << halfBits // the time after which a response time says nothing any more, 8.6 s
	slowBits = 3             // with requests in flight it takes eight times as long
)
