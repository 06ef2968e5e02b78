package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time a histogram knows, in microseconds. Longer ones count as this: an hour.
	longest = int64(time.Hour / time.Microsecond)

	batchSize = 64
	// batchAge is how long a sample may stay in a batch of a busy connection, to keep the progress current.
	batchAge = 250 * time.Millisecond
)

// sample is one request that came to its end. Times count from the start of the run.
type sample struct {
	end     time.Duration
	latency time.Duration
	connect time.Duration // how long the connect took that it began with; 0 means none
	status  int           // 0 with a failure
	failure *failure
}

// batch is what one connection has measured since it last gave its samples to the recorder. So a request takes no
// shared lock, and a thousand connections need no thousand histograms of 200 KB each. It is for one goroutine.
type batch struct {
	samples   []sample
	bytesRead int64
	bytesSent int64
}

func (b *batch) full(now time.Duration) bool {
	return len(b.samples) == batchSize || len(b.samples) > 0 && now-b.samples[0].end > batchAge
}

// recorder sums up the batches of all connections. It is safe for concurrent use. Its memory is bounded by the
// number of different statuses and by the length of the series, not by the requests.
type recorder struct {
	mu        sync.Mutex
	statuses  map[int]*hdrhistogram.Histogram
	failures  map[Cause]*FailureCount
	connects  *hdrhistogram.Histogram
	series    series
	responses int64
	failed    int64
	bytesRead int64
	bytesSent int64
}

func newRecorder() *recorder {
	return &recorder{
		statuses: map[int]*hdrhistogram.Histogram{},
		failures: map[Cause]*FailureCount{},
		connects: newHistogram(3),
		series:   series{width: firstWidth},
	}
}

// newHistogram returns a histogram of microseconds, exact to so many significant digits.
func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest, digits)
}

func recordTime(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), longest)) // in range, so there is no error
}

// add takes the batch's measurements and empties it.
func (r *recorder) add(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b.samples {
		r.addSample(&b.samples[i])
	}
	r.bytesRead += b.bytesRead
	r.bytesSent += b.bytesSent
	*b = batch{samples: b.samples[:0]}
}

func (r *recorder) addSample(s *sample) {
	if s.connect > 0 {
		recordTime(r.connects, s.connect)
	}
	interval := r.series.at(s.end)
	if s.failure != nil {
		r.failed++
		interval.Failures++
		cause := s.failure.cause()
		count := r.failures[cause]
		if count == nil {
			count = &FailureCount{Cause: cause, Example: s.failure.Error()}
			r.failures[cause] = count
		}
		count.Count++
		return
	}
	r.responses++
	interval.Statuses[s.status]++
	recordTime(interval.Latency, s.latency)
	h := r.statuses[s.status]
	if h == nil {
		h = newHistogram(3)
		r.statuses[s.status] = h
	}
	recordTime(h, s.latency)
}

// addConnect records a connection that was opened before the run.
func (r *recorder) addConnect(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	recordTime(r.connects, took)
}

// progress returns the counts so far.
func (r *recorder) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{Responses: r.responses, Failures: r.failed, Statuses: make(map[int]int64, len(r.statuses))}
	for status, h := range r.statuses {
		p.Statuses[status] = h.TotalCount()
	}
	return p
}
