package upstream

import (
	"fmt"
	"io"
	"time"

	"loadbalancer/proxy/metrics"
)

// Requests counts the requests of one pool, or those that reached none. It is safe for concurrent
// use and takes no lock.
type Requests struct {
	labels   string
	codes    metrics.Codes
	duration metrics.Histogram
}

// NoPool returns the counters of the requests that reach no pool.
func NoPool() *Requests { return &Requests{labels: metrics.Label("pool", "")} }

// Requests returns the counters of the pool's requests.
func (p *Pool) Requests() *Requests { return &p.requests }

// Count counts a request by the status of its response, and the time from the parsed request to its
// end.
func (r *Requests) Count(status int, took time.Duration) {
	r.codes.Add(status)
	r.duration.Observe(took)
}

// EachStatus calls f with each status that was counted, and how often.
func (r *Requests) EachStatus(f func(status int, n uint64)) { r.codes.Each(f) }

// CountUnread counts a response to a request that was not read, and so has no duration.
func (r *Requests) CountUnread(status int) { r.codes.Add(status) }

// WriteRequests writes the metrics of the pools and of the requests that reached none in the
// Prometheus text format.
func WriteRequests(w io.Writer, none *Requests, pools []*Pool) {
	all := []*Requests{none}
	for _, p := range pools {
		all = append(all, &p.requests)
	}
	metrics.Family(w, "lb_requests_total", "counter", "Requests by pool (empty where none was reached) and status.")
	for _, r := range all {
		r.codes.Write(w, "lb_requests_total", r.labels)
	}
	metrics.Family(w, "lb_request_duration_seconds", "histogram", "From the parsed request to its end.")
	for _, r := range all {
		r.duration.Write(w, "lb_request_duration_seconds", r.labels)
	}
	metrics.Family(w, "lb_retries_total", "counter", "Attempts made at another backend after one failed.")
	for _, p := range pools {
		fmt.Fprintf(w, "lb_retries_total{%s} %d\n", p.requests.labels, p.retries.Load())
	}
	metrics.Family(w, "lb_retries_denied_total", "counter", "Attempts at another backend that were denied because the pool's retry budget was spent.")
	for _, p := range pools {
		fmt.Fprintf(w, "lb_retries_denied_total{%s} %d\n", p.requests.labels, p.retriesDenied.Load())
	}
}

// WriteBackends writes the metrics of the pools' backends in the Prometheus text format.
func WriteBackends(w io.Writer, pools []*Pool) {
	metrics.Family(w, "lb_backend_requests_total", "counter", "Attempts by backend and resulting status.")
	eachBackend(pools, func(b *Backend, labels string) {
		b.codes.Write(w, "lb_backend_requests_total", labels)
	})
	metrics.Family(w, "lb_backend_up", "gauge", "1 if the backend takes requests.")
	eachBackend(pools, func(b *Backend, labels string) {
		up := 0
		if b.takesRequests() {
			up = 1
		}
		fmt.Fprintf(w, "lb_backend_up{%s} %d\n", labels, up)
	})
	metrics.Family(w, "lb_backend_in_flight", "gauge", "Requests in flight at the backend.")
	eachBackend(pools, func(b *Backend, labels string) {
		fmt.Fprintf(w, "lb_backend_in_flight{%s} %d\n", labels, b.inFlight.Load())
	})
}

func eachBackend(pools []*Pool, f func(b *Backend, labels string)) {
	for _, p := range pools {
		for _, b := range p.all() {
			f(b, p.requests.labels+","+metrics.Label("backend", b.Name()))
		}
	}
}
