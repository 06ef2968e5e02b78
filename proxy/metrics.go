package proxy

import (
	"fmt"
	"io"
	"sync/atomic"

	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
)

// poolMetrics counts the requests of one pool, or those that reached none.
type poolMetrics struct {
	labels        string
	codes         metrics.Codes
	retries       atomic.Uint64
	retriesDenied atomic.Uint64
	duration      metrics.Histogram
}

// newPoolMetrics returns the counters of the pool with this name; "" stands for the requests that
// reached no pool.
func newPoolMetrics(name string) *poolMetrics {
	return &poolMetrics{labels: metrics.Label("pool", name)}
}

// WriteMetrics writes the proxy's metrics in the Prometheus text format. It may
// be called at any time.
func (p *Proxy) WriteMetrics(w io.Writer) {
	all := []*poolMetrics{p.noPool}
	for _, pool := range p.pools {
		all = append(all, pool.metrics)
	}
	metrics.Family(w, "lb_requests_total", "counter", "Requests by pool (empty where none was reached) and status.")
	for _, m := range all {
		m.codes.Write(w, "lb_requests_total", m.labels)
	}
	metrics.Family(w, "lb_request_duration_seconds", "histogram", "From the parsed request to its end.")
	for _, m := range all {
		m.duration.Write(w, "lb_request_duration_seconds", m.labels)
	}
	metrics.Family(w, "lb_retries_total", "counter", "Attempts made at another backend after one failed.")
	for _, m := range all[1:] {
		fmt.Fprintf(w, "lb_retries_total{%s} %d\n", m.labels, m.retries.Load())
	}
	metrics.Family(w, "lb_retries_denied_total", "counter", "Attempts at another backend that were denied because the pool's retry budget was spent.")
	for _, m := range all[1:] {
		fmt.Fprintf(w, "lb_retries_denied_total{%s} %d\n", m.labels, m.retriesDenied.Load())
	}
	metrics.Single(w, "lb_limited_total", "counter", "Requests rejected because the client's bucket was empty, or too many of its requests were in flight.", p.errors[reason.Limited].Load()+p.errors[reason.TooManyInFlight].Load())
	metrics.Single(w, "lb_shadow_limited_total", "counter", "Requests that passed only because their client is in shadow mode.", p.shadowLimited.Load())
	metrics.Family(w, "lb_errors_total", "counter", "Requests that no backend answered in full, by reason.")
	for why := reason.BadRequest; why < reason.Count; why++ {
		if why.CountedAs() == why {
			fmt.Fprintf(w, "lb_errors_total{reason=%q} %d\n", why.String(), p.errors[why].Load())
		}
	}
	p.writeBackends(w)
	metrics.Single(w, "lb_connections", "gauge", "Open connections of clients.", p.clients.len())
	metrics.Single(w, "lb_tunnels", "gauge", "Open connections of clients that carry WebSocket or another protocol after 101 Switching Protocols.", p.tunnels.Load())
}

func (p *Proxy) writeBackends(w io.Writer) {
	metrics.Family(w, "lb_backend_requests_total", "counter", "Attempts by backend and resulting status.")
	p.eachBackend(func(b *backend, labels string) {
		b.codes.Write(w, "lb_backend_requests_total", labels)
	})
	metrics.Family(w, "lb_backend_up", "gauge", "1 if the backend takes requests.")
	p.eachBackend(func(b *backend, labels string) {
		up := 0
		if b.takesRequests() {
			up = 1
		}
		fmt.Fprintf(w, "lb_backend_up{%s} %d\n", labels, up)
	})
	metrics.Family(w, "lb_backend_in_flight", "gauge", "Requests in flight at the backend.")
	p.eachBackend(func(b *backend, labels string) {
		fmt.Fprintf(w, "lb_backend_in_flight{%s} %d\n", labels, b.inFlight.Load())
	})
}

func (p *Proxy) eachBackend(f func(b *backend, labels string)) {
	for _, pool := range p.pools {
		for _, b := range pool.backends {
			f(b, pool.metrics.labels+","+metrics.Label("backend", b.name))
		}
	}
}
