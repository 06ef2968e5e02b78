package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"loadbalancer/bench/backend"
)

func TestPages(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	description, err := os.ReadFile("docs/swagger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, path, contentType, body string
	}{
		{"GET", "/healthz", "text/plain; charset=utf-8", "ok\n"},
		{"GET", "/readyz", "text/plain; charset=utf-8", "ready\n"},
		{"GET", "/v1/api/swagger.yaml", "application/yaml", string(description)},
		{"HEAD", "/healthz", "text/plain; charset=utf-8", ""},
		{"HEAD", "/v1/api/clients/", "application/json", ""},
		{"GET", "/v1/api/clients", "application/json", "[]\n"},
	}
	for _, tt := range tests {
		a := call(t, tt.method, in.management+tt.path, "")
		if a.status != 200 || a.header.Get("Content-Type") != tt.contentType || a.body != tt.body {
			t.Errorf("%s %s: got %+v", tt.method, tt.path, a)
		}
		if tt.method == "HEAD" && a.header.Get("Content-Length") == "" {
			t.Errorf("HEAD %s has no Content-Length", tt.path)
		}
	}
}

func TestMetrics(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	call(t, "GET", in.proxy+"/", "")
	call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"10.0.0.1","capacity":1,"rate_per_second":1}`)
	a := call(t, "GET", in.management+"/metrics", "")
	if a.status != 200 || a.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("got %d, %v", a.status, a.header)
	}
	for _, line := range []string{
		`lb_requests_total{pool="main",code="200"} 1`,
		`lb_request_duration_seconds_count{pool="main"} 1`,
		`lb_limited_total 0`,
		`lb_errors_total{reason="no_backend"} 0`,
		`lb_retries_total{pool="main"} 0`,
		`lb_backend_requests_total{pool="main",backend="`,
		`lb_backend_up{pool="main",backend="`,
		`lb_backend_in_flight{pool="main",backend="`,
		`lb_connections `,
		`lb_tracked_clients 1`,
		`lb_overflow_requests_total 0`,
		`lb_clients 1`,
		`go_memstats_mallocs_total `,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(a.body, "\n"+line) {
			t.Errorf("there is no line %s", line)
		}
	}
	requireExposition(t, a.body)
}

// requireExposition checks the Prometheus text format: every series once, and every family of ours
// with its type before it.
func requireExposition(t *testing.T, text string) {
	t.Helper()
	sample := regexp.MustCompile(`^([a-z_]+)(\{[a-zA-Z_]+="[^"]*"(?:, ?[a-zA-Z_]+="[^"]*")*\})? ([0-9.e+-]+)$`)
	seen, kinds := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if kind, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(kind, " ")
			if kinds[name] {
				t.Errorf("two types of %s", name)
			}
			kinds[name] = true
			continue
		}
		part := sample.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "# HELP "):
		case part == nil:
			t.Errorf("a line that is no sample: %s", line)
		case seen[part[1]+part[2]]:
			t.Errorf("a series twice: %s", line)
		case strings.HasPrefix(line, "lb_") && !kinds[regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(part[1], "")] && !kinds[part[1]]:
			t.Errorf("no type: %s", line)
		default:
			seen[part[1]+part[2]] = true
		}
	}
}

func TestManagementProblems(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	tests := []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nothing", 404, ""},
		{"GET", "/metrics/", 404, ""},
		{"GET", "/v1/api", 404, ""},
		{"GET", "/v1/api/client", 404, ""},
		{"GET", "/v1/api/../../metrics", 404, ""},
		{"GET", "//healthz", 404, ""},
		{"DELETE", "/healthz", 405, "GET, HEAD"},
		{"POST", "/metrics", 405, "GET, HEAD"},
		{"OPTIONS", "/readyz", 405, "GET, HEAD"},
		{"PATCH", "/v1/api/clients/", 405, "GET, HEAD, POST"},
		{"PATCH", "/v1/api/clients", 405, "GET, HEAD, POST"},
		{"POST", "/v1/api/clients/10.0.0.1", 405, "DELETE, GET, HEAD, PATCH, PUT"},
	}
	for _, tt := range tests {
		base := in.management
		a := call(t, tt.method, base+tt.path, "")
		requireProblem(t, tt.method+" "+tt.path, a, tt.status)
		if got := a.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow is %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

// TestParametersRefused has the calls of both listeners, the description too.
func TestParametersRefused(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n  api_on_proxy: true\n"), "--demo")
	for _, base := range []string{in.management, in.proxy} {
		for _, path := range []string{"/swagger.yaml", "/clients/", "/clients/10.0.0.1", "/limited"} {
			for _, method := range []string{"GET", "HEAD"} {
				a := call(t, method, base+"/v1/api"+path+"?verbose=1", "")
				if a.status != 422 || method == "GET" && !strings.Contains(a.body, `"field":"verbose"`) {
					t.Errorf("%s %s%s: got %+v", method, base, path, a)
				}
			}
		}
	}
}

// requireProblem checks that a is problem+json (RFC 9457) with this status.
func requireProblem(t *testing.T, what string, a answer, status int) {
	t.Helper()
	var problem struct {
		Title, Detail string
		Status        int
	}
	err := json.Unmarshal([]byte(a.body), &problem)
	if err != nil || a.status != status || problem.Status != status || problem.Title != http.StatusText(status) || problem.Detail == "" ||
		a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: got %+v (%v), want a problem with status %d", what, a, err, status)
	}
}

// The API is on the management listener alone, by default.
func TestAPIOnProxyTurnedOff(t *testing.T) {
	config := testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n")
	in := startInstance(t, config, "--demo")
	if a := call(t, "GET", in.proxy+"/v1/api/clients/", ""); !strings.HasPrefix(a.body, "backend ") {
		t.Errorf("the request was not proxied: %+v", a)
	}
	if a := call(t, "GET", in.management+"/v1/api/clients/", ""); a.status != 200 || a.body != "[]\n" {
		t.Errorf("got %+v", a)
	}
}

func TestManagementTurnedOff(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: ''\n  api_on_proxy: true\n"), "--demo")
	if in.log.find("management") != nil {
		t.Errorf("the log tells of a listener:\n%s", in.log)
	}
	if a := call(t, "GET", in.proxy+"/v1/api/clients/", ""); a.status != 200 || a.body != "[]\n" {
		t.Errorf("got %+v", a)
	}
}

func TestLimiterTurnedOff(t *testing.T) {
	config := testConfig(t, freeAddresses(t, 1), "limiter:\n  enabled: false\n  default: {capacity: 1, rate_per_second: 0.1}\n")
	in := startInstance(t, config, "--demo")
	if passed := passedOf50(t, in.proxy); passed != 50 {
		t.Errorf("%d of 50 requests passed", passed)
	}
}

func TestReadyzFollowsTheBackends(t *testing.T) {
	address := freeAddresses(t, 1)[0]
	in := startInstance(t, testConfig(t, []string{address}))
	var a answer
	ready := func(status int) func() bool {
		return func() bool {
			a = call(t, "GET", in.management+"/readyz", "")
			return a.status == status
		}
	}
	waitFor(t, "503 without a backend", ready(503))
	if a.body != "not ready: pool main has no backend that takes requests\n" {
		t.Errorf("got %q", a.body)
	}
	if a := call(t, "GET", in.proxy+"/", ""); a.status != 503 || !strings.Contains(a.body, `"no_backend"`) {
		t.Errorf("got %+v", a)
	}
	if a := call(t, "GET", in.management+"/healthz", ""); a.status != 200 {
		t.Errorf("/healthz: got %+v", a)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- backend.Serve(ctx, ln, backend.Options{}) }()
	defer func() { cancel(); <-ended }()
	waitFor(t, "200 with a backend", ready(200))
	waitFor(t, "the log lines", func() bool {
		return in.log.find("backend is out") != nil && in.log.find("backend is up") != nil
	})
}

// TestEndWithRequestsUnderWay: once it was told to end, the balancer says that it is not ready, but
// still accepts for server.shutdown_delay. Then both listeners close, while the request that is
// under way ends in its time.
func TestEndWithRequestsUnderWay(t *testing.T) {
	slow, arrived, release := slowBackend(t)
	demo := freeAddresses(t, 1)[0]
	config := testConfig(t, []string{slow}, "server:\n  listen: 127.0.0.1:0\n  shutdown_delay: 1s\nroutes:\n  - {pool: main}\n") + "  other:\n    backends: [{url: 'http://" + demo + "'}]\n"
	in := startInstance(t, config, "--demo")
	answered := getSlow(in.proxy, arrived)
	begun := time.Now()
	in.cancel()
	waitFor(t, "503 while it still accepts", func() bool {
		a := call(t, "GET", in.management+"/readyz", "")
		return a.status == 503 && a.body == "not ready: shutting down\n"
	})
	if a := call(t, "GET", in.proxy, ""); a.status != 200 {
		t.Errorf("a request within the delay got %+v", a)
	}
	waitFor(t, "the listeners to close", func() bool {
		_, proxyErr := tryCall("GET", in.proxy, "")
		_, managementErr := tryCall("GET", in.management+"/readyz", "")
		return proxyErr != nil && managementErr != nil
	})
	if took := time.Since(begun); took < time.Second {
		t.Errorf("the listeners closed after %s, want the delay of 1 s", took)
	}
	if a := call(t, "GET", "http://"+demo, ""); a.status != 200 {
		t.Errorf("the fake backend is needed until the last request is answered, but it says %+v", a)
	}
	release()
	if a := <-answered; a.status != 200 || a.body != "done" {
		t.Errorf("the request that was under way got %+v", a)
	}
	in.stop(t)
	counters := in.log.find("counters")
	if statuses, _ := counters["statuses"].(map[string]any); counters == nil || statuses["200"].(float64) < 2 {
		t.Errorf("the last counters are %v", counters)
	}
}

// A peer that has sent half a request must not hold up the end.
func TestHalfARequestAtTheEnd(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)))
	conn, err := net.Dial("tcp", strings.TrimPrefix(in.management, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HT"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	in.stop(t)
	if took := time.Since(begun); took > 6*time.Second {
		t.Errorf("the end took %s", took)
	}
}
