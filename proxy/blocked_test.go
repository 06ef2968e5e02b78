package proxy

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// TestBlocked refuses every request of a blocked client, and tells it nothing of a limit.
func TestBlocked(t *testing.T) {
	var visits atomic.Int64
	backend := startRawBackend(t, func(net.Conn) { visits.Add(1) })
	for _, shadow := range []bool{false, true} {
		var log logLines
		o := testOptions(backend)
		o.Limiter = limitsOf(limiter.Terms{Limit: ample, Blocked: true, Shadow: shadow, MaxInFlight: 1})
		o.LimitFields = limiter.Config{Headers: "both"}.Fields()
		o.Exempt, o.Access, o.Log = ExemptConfig{Paths: []string{"/healthz"}}, AccessErrors, zerolog.New(&log)
		p, address := startProxy(t, o)
		w := newWire(t, address)
		for _, request := range []string{
			"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
		} {
			w.send(request)
			got := w.receive("GET")
			checkProblem(t, got, 403, "blocked", "http://-:-")
			for name := range got.Header {
				if len(limitFieldsOf(name)) > 0 {
					t.Errorf("%s: a blocked client gets %v", request, got.Header)
				}
			}
		}
		eventually(t, "the log", func() bool { return len(log.parsed(t)) == 3 })
		if line := log.parsed(t)[0]; line["reason"] != "blocked" || line["status"] != 403. || line["client"] != "127.0.0.1" || line["shadow"] != nil {
			t.Errorf("logged %v", line)
		}
		waitMetrics(t, p, map[string]float64{`lb_errors_total{reason="blocked"}`: 3, "lb_limited_total": 0, "lb_shadow_limited_total": 0})
		if u, _ := o.Limiter.Usage(loopback); u.Blocked != 3 || u.Allowed != 0 || u.InFlight != 0 {
			t.Errorf("the usage is %+v", u)
		}
		e, err := p.Explain(Question{Method: "GET", URL: "/healthz", From: netip.MustParseAddr("127.0.0.1")})
		if err != nil || e.Refused == nil || e.Refused.Reason != "blocked" || e.Refused.Status != 403 || !e.Limit.Blocked || e.Limit.Passes {
			t.Errorf("explained as %+v, limit %+v, %v", e.Refused, e.Limit, err)
		}
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("%d connections came to the backend", n)
	}
}
