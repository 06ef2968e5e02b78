package proxy

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{([^{}]*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(,|$)`)
)

// parseMetrics reads the Prometheus text format strictly and returns the values by series. Each
// family has its HELP and TYPE once, right before its samples.
func parseMetrics(t *testing.T, text string) map[string]float64 {
	t.Helper()
	values, types, family, help := map[string]float64{}, map[string]string{}, "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line has no end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		word := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# HELP ") && len(word) > 3:
			help = word[2]
		case strings.HasPrefix(line, "# TYPE ") && len(word) == 4:
			if family = word[2]; family != help || types[family] != "" {
				t.Errorf("%s: TYPE without its HELP, or twice", family)
			}
			types[family] = word[3]
		default:
			m := sampleLine.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("not a sample: %q", line)
			}
			base := m[1]
			if types[family] == "histogram" {
				base = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(base, "")
			}
			if base != family {
				t.Errorf("%q stands below %s", line, family)
			}
			for labels := m[2]; labels != ""; {
				pair := labelPair.FindStringSubmatch(labels)
				if pair == nil {
					t.Fatalf("broken labels: %q", line)
				}
				labels = labels[len(pair[0]):]
			}
			v, err := strconv.ParseFloat(m[3], 64)
			series := strings.TrimSuffix(line, " "+m[3])
			if _, twice := values[series]; err != nil || twice || v < 0 || math.IsNaN(v) {
				t.Errorf("%q: %v, twice: %v", line, err, twice)
			}
			values[series] = v
		}
	}
	return values
}

// metricsOf reads the metrics of a proxy.
func metricsOf(t *testing.T, p *Proxy) map[string]float64 {
	t.Helper()
	var b strings.Builder
	p.WriteMetrics(&b)
	return parseMetrics(t, b.String())
}

// waitMetrics waits until the metrics are as wanted: a request is counted after its response is
// sent.
func waitMetrics(t *testing.T, p *Proxy, want map[string]float64) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got, wrong := metricsOf(t, p), ""
		for series, v := range want {
			if got[series] != v {
				wrong += fmt.Sprintf("%s is %v, want %v\n", series, got[series], v)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestMetricsOfFreshProxy(t *testing.T) {
	got := metricsOf(t, New(testOptions("http://127.0.0.1:8100")))
	for series, want := range map[string]float64{
		`lb_backend_up{pool="main",backend="127.0.0.1:8100"}`:        1,
		`lb_backend_in_flight{pool="main",backend="127.0.0.1:8100"}`: 0,
		`lb_retries_total{pool="main"}`:                              0,
		`lb_retries_denied_total{pool="main"}`:                       0,
		`lb_limited_total`:                                           0,
		`lb_connections`:                                             0,
		`lb_request_duration_seconds_count{pool=""}`:                 0,
		`lb_request_duration_seconds_count{pool="main"}`:             0,
	} {
		if v, there := got[series]; !there || v != want {
			t.Errorf("%s is %v (there: %v), want %v", series, v, there, want)
		}
	}
	for why := reason.BadRequest; why < reason.Count; why++ {
		if v, there := got[fmt.Sprintf("lb_errors_total{reason=%q}", why.String())]; !there || v != 0 {
			t.Errorf("lb_errors_total of %s is %v (there: %v)", why.String(), v, there)
		}
	}
}

func TestMetricsAddUp(t *testing.T) {
	url := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.WriteHeader(code)
	})
	o := testOptions(url)
	c := upstream.DefaultPoolConfig()
	c.Backends = backendConfigs("http://127.0.0.1:1", "http://127.0.0.1:2")
	c.Retry.Attempts = 2
	o.Pools["dead"] = c
	o.Routes = []routes.Config{{Path: "/ok", Pool: "main"}, {Path: "/dead", Pool: "dead"}}
	o.Limiter = limits(14, 0.0001)
	p, address := startProxy(t, o)
	for _, step := range []struct {
		request     string
		times, want int
	}{
		{get("/ok?code=200"), 5, 200}, {get("/ok?code=404"), 3, 404}, {get("/ok?code=500"), 2, 500},
		{get("/dead"), 2, 502}, {get("/nowhere"), 2, 404}, {get("/ok?code=200"), 3, 429},
		{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 1, 405}, {"nonsense\r\n\r\n", 2, 400},
	} {
		for range step.times {
			if got := status(t, address, step.request); got != step.want {
				t.Fatalf("%q: got %d, want %d", step.request, got, step.want)
			}
		}
	}
	backend := nameOf(url)
	waitMetrics(t, p, map[string]float64{
		`lb_requests_total{pool="main",code="200"}`:                                   5,
		`lb_requests_total{pool="main",code="404"}`:                                   3,
		`lb_requests_total{pool="main",code="500"}`:                                   2,
		`lb_requests_total{pool="dead",code="502"}`:                                   2,
		`lb_requests_total{pool="",code="404"}`:                                       2,
		`lb_requests_total{pool="",code="429"}`:                                       3,
		`lb_requests_total{pool="",code="405"}`:                                       1,
		`lb_requests_total{pool="",code="400"}`:                                       2,
		`lb_request_duration_seconds_count{pool="main"}`:                              10,
		`lb_request_duration_seconds_bucket{pool="main",le="+Inf"}`:                   10,
		`lb_request_duration_seconds_count{pool="dead"}`:                              2,
		`lb_request_duration_seconds_count{pool=""}`:                                  8,
		`lb_retries_total{pool="main"}`:                                               0,
		`lb_retries_total{pool="dead"}`:                                               2,
		`lb_limited_total`:                                                            3,
		`lb_errors_total{reason="limited"}`:                                           3,
		`lb_errors_total{reason="no_route"}`:                                          2,
		`lb_errors_total{reason="connect_failed"}`:                                    2,
		`lb_errors_total{reason="bad_request"}`:                                       3,
		`lb_backend_requests_total{pool="main",backend="` + backend + `",code="200"}`: 5,
		`lb_backend_requests_total{pool="main",backend="` + backend + `",code="404"}`: 3,
		`lb_backend_requests_total{pool="main",backend="` + backend + `",code="500"}`: 2,
		`lb_backend_requests_total{pool="dead",backend="127.0.0.1:1",code="502"}`:     2,
		`lb_backend_requests_total{pool="dead",backend="127.0.0.1:2",code="502"}`:     2,
		`lb_backend_in_flight{pool="main",backend="` + backend + `"}`:                 0,
		`lb_connections`: 0,
	})
	dead := p.settings.Load().pools[0] // marked here: health checks would do so at a pace of their own
	dead.Mark(backendOf(t, dead, "127.0.0.1:2"), upstream.Down, true)
	waitMetrics(t, p, map[string]float64{`lb_backend_up{pool="dead",backend="127.0.0.1:1"}`: 1, `lb_backend_up{pool="dead",backend="127.0.0.1:2"}`: 0})
}

// Whatever a pool or a socket is called, the text stays valid.
func TestMetricsLabels(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Pools = map[string]upstream.PoolConfig{"a\"b\\c\td\u00e9\u200b": {
		Backends: backendConfigs("unix:/tmp/\"\\\t\u00e9\x01"),
		Retry:    upstream.RetryConfig{Attempts: 1},
	}}
	if len(metricsOf(t, New(o))) == 0 {
		t.Error("no metrics")
	}
}
