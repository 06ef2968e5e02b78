package proxy

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// codeCounter counts by status code, 100 to 999.
type codeCounter struct{ counts [900]atomic.Uint64 }

func (c *codeCounter) add(status int) {
	if i := status - 100; i >= 0 && i < len(c.counts) {
		c.counts[i].Add(1)
	}
}

// write writes one line for each code that was counted. labels stand before code;
// there may be none.
func (c *codeCounter) write(w io.Writer, name, labels string) {
	if labels != "" {
		labels += ","
	}
	for i := range c.counts {
		if n := c.counts[i].Load(); n > 0 {
			fmt.Fprintf(w, "%s{%scode=\"%d\"} %d\n", name, labels, i+100, n)
		}
	}
}

// bounds are the upper bounds of a histogram's buckets.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second,
}

// histogram counts durations. It takes no lock: a scrape beside an update may
// miss that one.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	nanos   atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

func (h *histogram) write(w io.Writer, name, labels string) {
	var total uint64
	for i := range h.buckets {
		total += h.buckets[i].Load()
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i].Seconds(), 'g', -1, 64)
		}
		fmt.Fprintf(w, "%s_bucket{%s,le=%q} %d\n", name, labels, le, total)
	}
	fmt.Fprintf(w, "%s_sum{%s} %g\n", name, labels, time.Duration(h.nanos.Load()).Seconds())
	fmt.Fprintf(w, "%s_count{%s} %d\n", name, labels, total)
}

// poolMetrics is what is counted for the requests of one pool, or of none.
type poolMetrics struct {
	labels        string
	codes         codeCounter
	retries       atomic.Uint64
	retriesDenied atomic.Uint64
	duration      histogram
}

// newPoolMetrics makes the counters of the pool with this name, or "" for the
// requests that reached no pool.
func newPoolMetrics(name string) *poolMetrics {
	return &poolMetrics{labels: label("pool", name)}
}

// label makes a pair of the text format, which knows these three escapes alone.
func label(name, value string) string {
	return name + `="` + labelEscapes.Replace(value) + `"`
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// WriteMetrics writes the proxy's metrics in the Prometheus text format. It may
// be called at any time.
func (p *Proxy) WriteMetrics(w io.Writer) {
	all := []*poolMetrics{p.noPool}
	for _, pool := range p.pools {
		all = append(all, pool.metrics)
	}
	header(w, "lb_requests_total", "counter", "Requests by pool (empty where none was reached) and status.")
	for _, m := range all {
		m.codes.write(w, "lb_requests_total", m.labels)
	}
	header(w, "lb_request_duration_seconds", "histogram", "From the parsed request to its end.")
	for _, m := range all {
		m.duration.write(w, "lb_request_duration_seconds", m.labels)
	}
	header(w, "lb_api_requests_total", "counter", "Calls of the API by status, on both listeners.")
	p.apiCodes.write(w, "lb_api_requests_total", "")
	header(w, "lb_retries_total", "counter", "Attempts made at another backend after one failed.")
	for _, m := range all[1:] {
		fmt.Fprintf(w, "lb_retries_total{%s} %d\n", m.labels, m.retries.Load())
	}
	header(w, "lb_retries_denied_total", "counter", "Attempts not made at another backend because the pool's budget for retries was spent.")
	for _, m := range all[1:] {
		fmt.Fprintf(w, "lb_retries_denied_total{%s} %d\n", m.labels, m.retriesDenied.Load())
	}
	header(w, "lb_limited_total", "counter", "Requests rejected because the client's bucket was empty, or too many of its requests were under way.")
	fmt.Fprintf(w, "lb_limited_total %d\n", p.errors[limited].Load()+p.errors[tooManyInFlight].Load())
	header(w, "lb_shadow_limited_total", "counter", "Requests that passed because their client is in shadow mode, and would have been rejected else.")
	fmt.Fprintf(w, "lb_shadow_limited_total %d\n", p.shadowLimited.Load())
	header(w, "lb_errors_total", "counter", "Requests that no backend answered in full, by reason.")
	for why := badRequest; why < reasons; why++ {
		if countedAs[why] == why {
			fmt.Fprintf(w, "lb_errors_total{reason=%q} %d\n", reasonTable[why].code, p.errors[why].Load())
		}
	}
	p.writeBackends(w)
	header(w, "lb_connections", "gauge", "Open connections of clients.")
	fmt.Fprintf(w, "lb_connections %d\n", p.clients.len())
	header(w, "lb_tunnels", "gauge", "Of them, those that carry WebSocket or another protocol after 101 Switching Protocols.")
	fmt.Fprintf(w, "lb_tunnels %d\n", p.tunnels.Load())
}

func (p *Proxy) writeBackends(w io.Writer) {
	header(w, "lb_backend_requests_total", "counter", "Attempts by backend and the status that came of each.")
	p.eachBackend(func(b *backend, labels string) {
		b.codes.write(w, "lb_backend_requests_total", labels)
	})
	header(w, "lb_backend_up", "gauge", "1 if the backend takes requests.")
	p.eachBackend(func(b *backend, labels string) {
		up := 0
		if b.takesRequests() {
			up = 1
		}
		fmt.Fprintf(w, "lb_backend_up{%s} %d\n", labels, up)
	})
	header(w, "lb_backend_in_flight", "gauge", "Requests under way at the backend.")
	p.eachBackend(func(b *backend, labels string) {
		fmt.Fprintf(w, "lb_backend_in_flight{%s} %d\n", labels, b.inFlight.Load())
	})
}

func (p *Proxy) eachBackend(f func(b *backend, labels string)) {
	for _, pool := range p.pools {
		for _, b := range pool.backends {
			f(b, pool.metrics.labels+","+label("backend", b.name))
		}
	}
}

func header(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}
