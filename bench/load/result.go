package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run has measured. Histograms hold microseconds, from 1 to an hour.
type Result struct {
	Options Options
	Started time.Time
	// Elapsed is the time from the start of the first request to the end of the last. Connecting
	// beforehand is not included.
	Elapsed time.Duration

	// Every request that was started counts once: in Responses, in Failed, or in Unfinished.
	Responses  int64
	Failed     int64
	Unfinished int64 // cut off because the context ended
	// Unsent is the number of requests that were due by the schedule, but found no free connection
	// before the run ended.
	Unsent int64

	BytesSent, BytesRead int64 // on the wire, headers and all

	// Latency is that of all responses, whatever their status. In a closed loop it counts from when
	// the request was sent, in an open loop from when it was due. It includes the connect if the
	// request needed one.
	Latency  *hdrhistogram.Histogram
	Connect  *hdrhistogram.Histogram // every connection that was opened
	Statuses []StatusCount           // by code, ascending
	Failures []FailureCount          // by count, descending
	// Intervals divide the run, without gaps, into equal lengths except for the last.
	Intervals []*Interval
}

// PerSecond returns the responses per second.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Responses) / r.Elapsed.Seconds()
}

// StatusCount counts the responses with one status code.
type StatusCount struct {
	Code    int
	Count   int64
	Latency *hdrhistogram.Histogram // microseconds
}

// FailureCount counts the requests that failed for one cause. Example is the first of their errors.
type FailureCount struct {
	Cause   Cause
	Count   int64
	Example string
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed   time.Duration
	Responses int64
	Failures  int64
	Statuses  map[int]int64 // responses by status code
}
