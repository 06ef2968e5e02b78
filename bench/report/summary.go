// Package report presents the result of a load run as text, as JSON, as a chart and as a page, and a
// run that goes on as a line and as a live chart.
//
// The names in the JSON are a contract: fields may be added, but none is renamed or dropped. The
// package writes only to the writer it is given, and knows nothing of how the load was made.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"loadbalancer/bench/load"
)

// Summary is the JSON report. Its names are a contract: fields may be added, but none is renamed or
// dropped.
type Summary struct {
	URL         string    `json:"url"`
	Method      string    `json:"method"`
	Connections int       `json:"connections"`
	KeepAlive   bool      `json:"keepalive"`
	TargetRate  float64   `json:"target_rate"` // requests per second; 0 means as fast as answers come
	StartedAt   time.Time `json:"started_at"`

	ElapsedSeconds    float64 `json:"elapsed_seconds"`
	Responses         int64   `json:"responses"`
	Errors            int64   `json:"errors"`
	Unfinished        int64   `json:"unfinished"` // cut off by the end of the run
	Unsent            int64   `json:"unsent"`     // due by the schedule, but never sent
	RequestsPerSecond float64 `json:"requests_per_second"`
	BytesSent         int64   `json:"bytes_sent"`
	BytesReceived     int64   `json:"bytes_received"`

	LatencyMS     *Latency   `json:"latency_ms"` // of all responses; null without any
	ConnectMS     *Latency   `json:"connect_ms"`
	Statuses      []Status   `json:"statuses"`
	ErrorsByCause []Failure  `json:"errors_by_cause"`
	Intervals     []Interval `json:"intervals"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P75  float64 `json:"p75"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// Status counts the responses with one status code. Share is the fraction, 0 to 1, of all requests
// that were answered or failed.
type Status struct {
	Code      int     `json:"code"`
	Count     int64   `json:"count"`
	Share     float64 `json:"share"`
	LatencyMS Latency `json:"latency_ms"`
}

// Failure counts the requests that failed for one cause. Share is the fraction, 0 to 1, of all
// requests that were answered or failed.
type Failure struct {
	Cause   load.Cause `json:"cause"`
	Count   int64      `json:"count"`
	Share   float64    `json:"share"`
	Example string     `json:"example"`
}

// Interval is one stretch of the run: counts, and the latency of its responses (null if there are
// none).
type Interval struct {
	StartSeconds  float64          `json:"start_seconds"`
	LengthSeconds float64          `json:"length_seconds"`
	Statuses      map[string]int64 `json:"statuses"`
	Errors        int64            `json:"errors"`
	LatencyMS     *Latency         `json:"latency_ms"`
}

// Summarize computes the report of a run.
func Summarize(r *load.Result) Summary {
	s := Summary{
		URL: r.Options.URL, Method: r.Options.Method, Connections: r.Options.Connections,
		KeepAlive: r.Options.KeepAlive, TargetRate: r.Options.Rate, StartedAt: r.Started.UTC().Round(time.Millisecond),
		ElapsedSeconds: r.Elapsed.Seconds(), Responses: r.Responses, Errors: r.Failed,
		Unfinished: r.Unfinished, Unsent: r.Unsent, RequestsPerSecond: r.PerSecond(),
		BytesSent: r.BytesSent, BytesReceived: r.BytesRead,
		LatencyMS: latency(r.Latency), ConnectMS: latency(r.Connect),
		Statuses: []Status{}, ErrorsByCause: []Failure{}, Intervals: []Interval{}, // [], never null
	}
	ended := r.Responses + r.Failed
	for _, status := range r.Statuses {
		s.Statuses = append(s.Statuses, Status{
			Code: status.Code, Count: status.Count, Share: share(status.Count, ended), LatencyMS: *latency(status.Latency),
		})
	}
	for _, f := range r.Failures {
		s.ErrorsByCause = append(s.ErrorsByCause, Failure{
			Cause: f.Cause, Count: f.Count, Share: share(f.Count, ended), Example: f.Example,
		})
	}
	for _, in := range r.Intervals {
		interval := Interval{
			StartSeconds: in.Start.Seconds(), LengthSeconds: in.Length.Seconds(),
			Statuses: make(map[string]int64, len(in.Statuses)), Errors: in.Failures, LatencyMS: latency(in.Latency),
		}
		for code, n := range in.Statuses {
			interval.Statuses[strconv.Itoa(code)] = n
		}
		s.Intervals = append(s.Intervals, interval)
	}
	return s
}

// latency returns nil for an empty histogram, which holds microseconds.
func latency(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(percentile float64) float64 { return float64(min(h.ValueAtQuantile(percentile), h.Max())) / 1000 }
	return &Latency{
		Min: float64(h.Min()) / 1000, Mean: h.Mean() / 1000,
		P50: at(50), P75: at(75), P90: at(90), P99: at(99), P999: at(99.9),
		Max: float64(h.Max()) / 1000,
	}
}

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// JSON writes the summary of a run, indented.
func JSON(w io.Writer, r *load.Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(Summarize(r)); err != nil {
		return fmt.Errorf("write the JSON report: %w", err)
	}
	return nil
}
