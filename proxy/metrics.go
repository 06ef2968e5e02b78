package proxy

import (
	"fmt"
	"io"

	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// WriteMetrics writes the proxy's metrics in the Prometheus text format. It may be called at any
// time.
func (p *Proxy) WriteMetrics(w io.Writer) {
	upstream.WriteRequests(w, p.road.noPool, p.pools)
	metrics.Single(w, "lb_limited_total", "counter", "Requests rejected because the client's bucket was empty, or too many of its requests were in flight.", p.road.errors[reason.Limited].Load()+p.road.errors[reason.TooManyInFlight].Load())
	metrics.Single(w, "lb_shadow_limited_total", "counter", "Requests that passed only because their client is in shadow mode.", p.road.shadowLimited.Load())
	metrics.Family(w, "lb_errors_total", "counter", "Requests that no backend answered in full, by reason.")
	for why := reason.BadRequest; why < reason.Count; why++ {
		if why.CountedAs() == why {
			fmt.Fprintf(w, "lb_errors_total{reason=%q} %d\n", why.String(), p.road.errors[why].Load())
		}
	}
	upstream.WriteBackends(w, p.pools)
	_, tunnels := p.server.UnderWay()
	metrics.Single(w, "lb_connections", "gauge", "Open connections of clients.", p.server.Connections())
	metrics.Single(w, "lb_tunnels", "gauge", "Open connections of clients that carry WebSocket or another protocol after 101 Switching Protocols.", tunnels)
}
