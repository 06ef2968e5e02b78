package management

import (
	"io"

	"loadbalancer/proxy/metrics"
)

// writeShare writes how the central state does that limits are shared by, where there is one.
func (m *Server) writeShare(w io.Writer) {
	if m.Share == nil {
		return
	}
	counted := m.Share.Counters()
	metrics.Single(w, "lb_share_up", "gauge", "1 if the central state of shared limits answers.", oneIf(!m.Share.IsAway()))
	metrics.Single(w, "lb_share_instances", "gauge", "Instances that share the limits, this one included, when the central state last answered.", m.Share.Instances())
	metrics.Single(w, "lb_share_waits_total", "counter", "Requests that waited for the central state of shared limits.", counted.Waits)
	metrics.Single(w, "lb_share_timeouts_total", "counter", "Requests that waited for the central state of shared limits in vain.", counted.TimedOut)
	metrics.Single(w, "lb_share_tellings_total", "counter", "Buckets told to the central state of shared limits.", counted.Tellings)
}
