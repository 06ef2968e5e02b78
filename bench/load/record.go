package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time that a histogram holds, in microseconds: an hour. Longer times
	// count as an hour.
	longest = int64(time.Hour / time.Microsecond)

	batchSize = 64
	// batchAge is how long a sample may stay in a busy connection's batch, so that the progress is
	// current.
	batchAge = 250 * time.Millisecond
)

// sample is one request that has ended. Times count from the start of the run.
type sample struct {
	end     time.Duration
	latency time.Duration
	connect time.Duration // duration of the connect that preceded it; 0 means none
	status  int           // 0 after a failure
	failure *failure
}

// batch is what one connection has measured since it last gave a batch to the recorder. With it a
// request takes no shared lock, and a thousand connections need no thousand histograms of 200 KB
// each. It is for one goroutine.
type batch struct {
	samples   []sample
	bytesRead int64
	bytesSent int64
}

func (b *batch) full(now time.Duration) bool {
	return len(b.samples) == batchSize || len(b.samples) > 0 && now-b.samples[0].end > batchAge
}

// recorder adds up the batches of all connections. It is safe for concurrent use. Its memory
// depends on the number of different statuses and the length of the series, not on the number of
// requests.
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

// newHistogram returns a histogram of microseconds with the given number of significant digits.
func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest, digits)
}

func recordTime(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), longest)) // in range, so there is no error
}

// add adds the batch's measurements and empties it.
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
