package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// usedBalancer starts an instance and gives each of its metrics something to count: responses,
// errors, a retry, a limited client, one in shadow mode, and an upgraded connection.
func usedBalancer(t *testing.T) *instance {
	t.Helper()
	resetting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resetting.Close() })
	go func() {
		for c, err := resetting.Accept(); err == nil; c, err = resetting.Accept() {
			c.Close()
		}
	}()
	upgrading, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upgrading.Close() })
	go func() {
		for c, err := upgrading.Accept(); err == nil; c, err = upgrading.Accept() {
			t.Cleanup(func() { c.Close() })
			_, _ = fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		}
	}()
	config := testConfig(t, append(freeAddresses(t, 1), resetting.Addr().String()))
	config = strings.Replace(config, "health: {path: /healthz, interval: 50ms}", "", 1)
	config += fmt.Sprintf("  upgrades:\n    backends: [{url: 'http://%s'}]\nroutes:\n  - {path: /upgrade, pool: upgrades}\n  - {path: /, pool: main}\n", upgrading.Addr())
	in := startInstance(t, config, "--demo")

	for range 4 { // the resetting backend has its turn, and the request goes to the other
		if a := call(t, "GET", in.proxy+"/", ""); a.status != 200 {
			t.Fatalf("got %+v", a)
		}
	}
	clients := in.management + "/v1/api/clients/"
	call(t, "POST", clients, `{"ip_address":"127.0.0.1","capacity":1,"rate_per_second":0.001}`)
	if passedOf50(t, in.proxy) > 1 {
		t.Error("the limit does not hold")
	}
	call(t, "PUT", clients+"127.0.0.1", `{"capacity":1,"rate_per_second":0.001,"shadow":true}`)
	call(t, "GET", in.proxy+"/", "")
	client, err := net.Dial("tcp", strings.TrimPrefix(in.proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	_, _ = fmt.Fprint(client, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return in
}

// Every lb_ metric has counted something, and Prometheus's own linter finds no fault with any.
func TestMetricsPassTheLinter(t *testing.T) {
	text := call(t, "GET", usedBalancer(t).management+"/metrics", "").body
	for _, series := range []string{
		`lb_requests_total\{pool="main",code="200"\}`, `lb_requests_total\{pool="",code="429"\}`,
		`lb_request_duration_seconds_count\{pool="main"\}`, `lb_retries_total\{pool="main"\}`, `lb_limited_total`,
		`lb_shadow_limited_total`, `lb_errors_total\{reason="limited"\}`, `lb_backend_requests_total\{pool="main",.*\}`,
		`lb_backend_up\{pool="upgrades",.*\}`, `lb_backend_in_flight\{pool="upgrades",.*\}`,
		`lb_connections`, `lb_tunnels`, `lb_clients`, `lb_backend_errors_total\{pool="main",backend=".*",reason="backend_reset"\}`,
		`lb_backend_duration_seconds_count\{pool="main",.*\}`, `lb_store_up`, `lb_build_info\{version=".+"\}`,
	} {
		if !regexp.MustCompile(`(?m)^` + series + ` [1-9]`).MatchString(text) {
			t.Errorf("nothing was counted in %s", series)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "lb_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Every family has its HELP and its TYPE once, before all of its samples; the type is the right
// one, and the help says something of this metric.
func TestMetricsHaveMetadata(t *testing.T) {
	text := call(t, "GET", usedBalancer(t).management+"/metrics", "").body
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ofHistogram := regexp.MustCompile(`_(bucket|sum|count)$`)
	seen, family, kind := map[string]bool{}, "", ""
	for line := range strings.Lines(text) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" {\n", r) })
		switch {
		case strings.HasPrefix(line, "# HELP "):
			family, kind = words[2], ""
			if seen[family] {
				t.Errorf("%s comes twice", family)
			}
			seen[family] = true
			help := strings.Join(words[3:], " ")
			if help == "" || strings.HasPrefix(help, "A figure of the ") {
				t.Errorf("%s has no help of its own: %q", family, help)
			}
		case strings.HasPrefix(line, "# TYPE ") && words[2] == family && kind == "":
			kind = words[3]
		case kind == "":
			t.Errorf("no TYPE stands before %s", line)
		case words[0] != family && ((kind != "histogram" && kind != "summary") || ofHistogram.ReplaceAllString(words[0], "") != family):
			t.Errorf("this stands among the samples of %s: %s", family, line)
		}
	}
	if len(seen) < 50 || !seen["go_goroutines"] {
		t.Errorf("only %d families", len(seen))
	}
	counters := map[string]bool{"go_cgo_calls_count": true, "go_gc_forced_count": true}
	kinds := map[string]string{
		"lb_request_duration_seconds": "HISTOGRAM", "lb_backend_duration_seconds": "HISTOGRAM", "go_sched_latencies_seconds": "HISTOGRAM",
		"go_gc_pauses_seconds": "HISTOGRAM", "go_gc_duration_seconds": "SUMMARY",
	}
	for name, f := range families {
		want := "GAUGE"
		if kinds[name] != "" {
			want = kinds[name]
		} else if strings.HasSuffix(name, "_total") || counters[name] {
			want = "COUNTER"
		}
		if got := f.GetType().String(); got != want {
			t.Errorf("%s is a %s, want a %s", name, got, want)
		}
	}
}
