package upstream

import (
	"fmt"
	"io"
	"time"

	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
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

// Totals returns how many responses were counted by class of status, and how many requests by the
// time that they took.
func (r *Requests) Totals() (metrics.Classes, metrics.Buckets) {
	return r.codes.Classes(), r.duration.Buckets()
}

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
	metrics.Family(w, "lb_retries_total", "counter", "Attempts made after one failed.")
	for _, p := range pools {
		fmt.Fprintf(w, "lb_retries_total{%s} %d\n", p.requests.labels, p.retries.Load())
	}
	metrics.Family(w, "lb_retries_denied_total", "counter", "Attempts that were denied because the pool's retry budget was spent.")
	for _, p := range pools {
		fmt.Fprintf(w, "lb_retries_denied_total{%s} %d\n", p.requests.labels, p.retriesDenied.Load())
	}
	metrics.Family(w, "lb_queued_requests", "gauge", "Requests that wait because every backend is full or out.")
	for _, p := range pools {
		fmt.Fprintf(w, "lb_queued_requests{%s} %d\n", p.requests.labels, p.queue.waiting.Load())
	}
	metrics.Family(w, "lb_pool_panic", "gauge", "1 if so few backends are in that some of those that are out take requests.")
	for _, p := range pools {
		panics := 0
		if p.current.Load().panics {
			panics = 1
		}
		fmt.Fprintf(w, "lb_pool_panic{%s} %d\n", p.requests.labels, panics)
	}
}

// WriteBackends writes the metrics of the pools' backends in the Prometheus text format.
func WriteBackends(w io.Writer, pools []*Pool) {
	backends := backendSamples{w: w, pools: pools}
	metrics.Family(w, "lb_backend_requests_total", "counter", "Attempts by backend and resulting status.")
	backends.each(func(b *Backend, dst []byte) []byte {
		return b.codes.Append(dst, "lb_backend_requests_total", b.labels)
	})
	metrics.Family(w, "lb_backend_errors_total", "counter", "Attempts that failed because of the backend, by reason.")
	backends.each((*Backend).appendErrors)
	metrics.Family(w, "lb_backend_duration_seconds", "histogram", "From the request, once it was sent, to the header of the backend's response. Attempts without one are not in it.")
	backends.each(func(b *Backend, dst []byte) []byte {
		return b.duration.Append(dst, "lb_backend_duration_seconds", b.labels)
	})
	metrics.Family(w, "lb_backend_up", "gauge", "1 if the backend takes requests.")
	backends.each(func(b *Backend, dst []byte) []byte {
		up := uint64(0)
		if b.TakesRequests() {
			up = 1
		}
		return metrics.AppendSample(dst, "lb_backend_up", b.labels, up)
	})
	metrics.Family(w, "lb_backend_in_flight", "gauge", "Requests in flight at the backend.")
	backends.each(func(b *Backend, dst []byte) []byte {
		return metrics.AppendSample(dst, "lb_backend_in_flight", b.labels, uint64(max(0, b.load.InFlight.Load())))
	})
}

// appendErrors appends a sample for each reason that was counted.
func (b *Backend) appendErrors(dst []byte) []byte {
	for why := range b.errors {
		if n := b.errors[why].Load(); n > 0 {
			dst = metrics.AppendSample(dst, "lb_backend_errors_total", b.labels+","+metrics.Label("reason", reason.Code(why).String()), n)
		}
	}
	return dst
}

// backendSamples writes samples of backends, with one write for each backend.
type backendSamples struct {
	w     io.Writer
	pools []*Pool
	buf   []byte // for the next one
}

// each writes what samples appends for each backend.
func (s *backendSamples) each(samples func(b *Backend, dst []byte) []byte) {
	for _, p := range s.pools {
		for _, b := range p.all() {
			s.buf = samples(b, s.buf[:0])
			_, _ = s.w.Write(s.buf) // to a buffer, which does not fail
		}
	}
}
