package proxy

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// WriteMetrics writes the proxy's metrics in the Prometheus text format. It may be called at any
// time.
func (p *Proxy) WriteMetrics(w io.Writer) {
	upstream.WriteRequests(w, p.road.noPool, p.settings.Load().pools)
	metrics.Single(w, "lb_limited_total", "counter", "Requests rejected because the client's bucket was empty, or too many of its requests were in flight.", p.road.errors[reason.Limited].Load()+p.road.errors[reason.TooManyInFlight].Load())
	metrics.Single(w, "lb_shadow_limited_total", "counter", "Requests that passed only because their client is in shadow mode.", p.road.shadowLimited.Load())
	metrics.Family(w, "lb_errors_total", "counter", "Requests that no backend answered in full, by reason.")
	for why := reason.BadRequest; why < reason.Count; why++ {
		if why.CountedAs() == why {
			fmt.Fprintf(w, "lb_errors_total{reason=%q} %d\n", why.String(), p.road.errors[why].Load())
		}
	}
	upstream.WriteBackends(w, p.settings.Load().pools)
	metrics.Family(w, "lb_tls_handshake_errors_total", "counter", "Connections to a listener of TLS that had no handshake, by cause.")
	p.server.EachHandshakeFault(func(fault http1.HandshakeFault, times uint64) {
		fmt.Fprintf(w, "lb_tls_handshake_errors_total{cause=%q} %d\n", fault.String(), times)
	})
	_, tunnels := p.server.UnderWay()
	metrics.Single(w, "lb_connections", "gauge", "Open connections of clients.", p.server.Connections())
	metrics.Single(w, "lb_tunnels", "gauge", "Open connections of clients that carry WebSocket or another protocol after 101 Switching Protocols.", tunnels)
}

// LogCounters logs, in one line, how the requests have ended so far: those of all pools and of
// none, by status and by reason.
func (p *Proxy) LogCounters() {
	var total uint64
	byStatus := map[int]uint64{}
	count := func(status int, n uint64) {
		total += n
		byStatus[status] += n
	}
	p.road.noPool.EachStatus(count)
	for _, pool := range p.settings.Load().pools {
		pool.Requests().EachStatus(count)
	}
	statuses, errors := zerolog.Dict(), zerolog.Dict()
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		statuses.Uint64(strconv.Itoa(status), byStatus[status])
	}
	for why := reason.BadRequest; why < reason.Count; why++ {
		if n := p.road.errors[why].Load(); n > 0 {
			errors.Uint64(why.String(), n)
		}
	}
	p.road.log.Info().Uint64("requests", total).Dict("statuses", statuses).Dict("errors", errors).
		Uint64("shadow_limited", p.road.shadowLimited.Load()).Msg("counters")
}
