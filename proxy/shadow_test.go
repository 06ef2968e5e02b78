package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// TestShadowMode lets pass what is beyond a limit, tells the client nothing of the
// limit, and tells the operator by the metric and the log.
func TestShadowMode(t *testing.T) {
	scarce := limiter.Limit{Capacity: 2, RatePerSecond: 0.0001}
	byDefault := limiter.DefaultConfig()
	byDefault.Default, byDefault.Headers = limiter.Default{Limit: scarce, Shadow: true}, "both"
	registered := limiter.DefaultConfig()
	registered.Headers = "both"
	for _, test := range []struct {
		name   string
		config limiter.Config
		terms  limiter.Terms // of loopback; the zero value: it is not registered
	}{
		{"registered", registered, limiter.Terms{Limit: scarce, Shadow: true}},
		{"other clients", byDefault, limiter.Terms{}},
	} {
		for _, access := range []Access{AccessOff, AccessErrors, AccessAll} {
			t.Run(test.name+", log "+string(access), func(t *testing.T) {
				var log logLines
				o := testOptions(startRawBackend(t, answerAll(ownLimits+"\r\nok")))
				o.Limiter, o.LimitFields = limiter.New(test.config), test.config.Fields()
				o.Access, o.Log = access, zerolog.New(&log)
				if test.terms != (limiter.Terms{}) {
					o.Limiter.Set(limiter.Registration{ID: loopback, Terms: test.terms})
				}
				p, address := startProxy(t, o)
				for range 5 {
					got := talk(t, address, get("/"))
					own := strings.Split(strings.TrimSpace(backendLimits), "\r\n")
					if fields := limitFieldsOf(got); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !slices.Equal(fields, own) {
						t.Errorf("got %q, of limits the backend's alone are wanted", got)
					}
				}
				eventually(t, "the counts", func() bool {
					return metric(p, "lb_shadow_limited_total") == "3" && metric(p, "lb_limited_total") == "0" && errorsWith(p, "limited") == "0"
				})
				want := map[Access][]any{AccessOff: nil, AccessErrors: {"limited", "limited", "limited"}, AccessAll: {nil, nil, "limited", "limited", "limited"}}[access]
				eventually(t, "the log", func() bool { return len(log.parsed(t)) >= len(want) })
				var shadows []any
				for _, line := range log.parsed(t) {
					shadows = append(shadows, line["shadow"])
					if line["status"] != 200. || line["reason"] != nil || line["level"] != "info" {
						t.Errorf("logged %v", line)
					}
				}
				if !slices.Equal(shadows, want) {
					t.Errorf("shadow in the log: %v, want %v", shadows, want)
				}
			})
		}
	}
}

// TestShadowOfTooMany has two requests at the backend where one may be.
func TestShadowOfTooMany(t *testing.T) {
	var log logLines
	release, entered := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1, Shadow: true})
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	wires := []*rawClient{newWire(t, address), newWire(t, address)}
	for i, w := range wires {
		w.send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i))
		<-entered
	}
	if n := underWay(o.Limiter); n != 2 {
		t.Errorf("%d requests are under way, want 2", n)
	}
	close(release)
	for _, w := range wires {
		if got := w.receive("GET"); got.StatusCode != 200 || got.Header.Get("RateLimit") != "" {
			t.Errorf("got %d, %v", got.StatusCode, got.Header)
		}
	}
	eventually(t, "the count", func() bool { return metric(p, "lb_shadow_limited_total") == "1" })
	eventually(t, "the log", func() bool { return len(log.parsed(t)) == 1 })
	if line := log.parsed(t)[0]; line["shadow"] != "too_many_in_flight" || line["path"] != "/1" || line["status"] != 200. {
		t.Errorf("logged %v", line)
	}
	eventually(t, "nothing to be under way", func() bool { return underWay(o.Limiter) == 0 })
}
