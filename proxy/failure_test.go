package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// failure is a way to fail, and what the client must see.
type failure struct {
	name    string
	backend func(t *testing.T) string // nil: one that works
	change  func(*Options)
	request string // "": a GET
	before  string // sent, and its response dropped, first
	reason  string
	status  int
}

var failures = []failure{
	{name: "refused", reason: "connect_failed", status: 502,
		backend: func(t *testing.T) string { return "http://" + closedPort(t) }},
	{name: "queue full", reason: "connect_timeout", status: 504, change: shortTimeouts, backend: fullBackend},
	{name: "silent", reason: "response_timeout", status: 504, change: shortTimeouts, backend: silentBackend},
	{name: "half a header, then silent", reason: "response_timeout", status: 504, change: shortTimeouts,
		backend: func(t *testing.T) string {
			return startRawBackend(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nA: ")
				_, _ = io.Copy(io.Discard, conn)
			})
		}},
	{name: "upload not read", reason: "response_timeout", status: 504, change: shortTimeouts,
		request: "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n" + strings.Repeat("u", 20_000_000),
		backend: func(t *testing.T) string {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			return startRawBackend(t, func(net.Conn) { <-end })
		}},
	{name: "closed", reason: "backend_reset", status: 502, backend: rawAnswer("")},
	{name: "reset", reason: "backend_reset", status: 502, backend: func(t *testing.T) string {
		return startRawBackend(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			reset(conn)
		})
	}},
	{name: "no route", reason: "no_route", status: 404,
		change: func(o *Options) { o.Routes = []routes.Config{{Host: "other.example.com", Pool: "main"}} }},
	{name: "limited", reason: "limited", status: 429, before: get("/"),
		change: func(o *Options) { o.Limiter = limits(1, 0.001) }},
	{name: "body length", reason: "body_too_large", status: 413,
		change:  func(o *Options) { o.Server.MaxBodySize = 10 },
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"},
	{name: "body in chunks", reason: "body_too_large", status: 413,
		change:  func(o *Options) { o.Server.MaxBodySize = 10 },
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"},
	{name: "header", reason: "header_too_large", status: 431,
		request: "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"},
	{name: "slow header", reason: "request_timeout", status: 408, change: shortTimeouts,
		request: "GET / HTTP/1.1\r\nHost:"},
	{name: "slow small body", reason: "request_timeout", status: 408, change: shortTimeouts,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello"},
	{name: "slow large body", reason: "request_timeout", status: 408, change: shortTimeouts,
		request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nhello"},
	{name: "slow chunked body", reason: "request_timeout", status: 408, change: shortTimeouts,
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"},
	{name: "broken chunks", reason: "bad_request", status: 400,
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
	{name: "bare CR in chunks that do not go on", reason: "bad_request", status: 400,
		request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello"},
	{name: "panic", reason: "internal_error", status: 500, request: "GET /v1/api/ HTTP/1.1\r\nHost: h\r\n\r\n",
		change: func(o *Options) { o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") }) }},
}

// badResponses are what no backend may answer.
var badResponses = []string{
	"hello\r\n\r\n",
	"\nHTTP/1.1 200 OK\nContent-Length: 0\n\n",
	"HTTP/1.1 000 OK\r\n\r\n",
	"HTTP/2.0 200 OK\r\n\r\n",
	"HTTP/1.1 20 OK\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/1.1 099 OK\r\n\r\n",
	"ICY 200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\n Folded: yes\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n",
	"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b\r\n", // ends within the header
	"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 65<<10) + "\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}

// TestFailures holds each reason to its status, its body and its metric. No answer may tell where
// the backends are.
func TestFailures(t *testing.T) {
	all := failures
	for _, response := range badResponses {
		all = append(all, failure{name: fmt.Sprintf("bad response %.50q", response), reason: "bad_response", status: 502, backend: rawAnswer(response)})
	}
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			backend := startBackend(t, mirror)
			if f.backend != nil {
				backend = f.backend(t)
			}
			o := testOptions(backend)
			if f.change != nil {
				f.change(&o)
			}
			p, address := startProxy(t, o)
			if f.before != "" {
				talk(t, address, f.before)
			}
			if f.request == "" {
				f.request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			w := newWire(t, address)
			go func() { _, _ = io.WriteString(w, f.request) }() // large ones may not be read to their end
			checkProblem(t, w.receive("GET"), f.status, f.reason, backend)
			eventually(t, "lb_errors_total", func() bool { return errorsWith(p, f.reason) == "1" })
		})
	}
}

func TestNoBackend(t *testing.T) {
	url := startBackend(t, mirror)
	p, address := startProxy(t, testOptions(url))
	pool := p.settings.Load().pools[0] // marked here: health checks would do so at a pace of their own
	backend := backendOf(t, pool, nameOf(url))
	pool.Mark(backend, upstream.Down, true)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // one a second is let through
	if got := w.receive("GET"); got.StatusCode != 200 {
		t.Errorf("the trial got %d", got.StatusCode)
	}
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	checkProblem(t, w.receive("GET"), 503, "no_backend", "http://-:-")
	pool.Mark(backend, upstream.Down, false)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := w.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d once the backend is back, on the same connection", got.StatusCode)
	}
}

// As a client sees one: the body for all but HEAD, and no word of the backend.
func TestProblemResponse(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	answer := reason.ConnectFailed.Answer()
	want := string(answer.Head) + "Connection: close\r\n\r\n"
	if got := withoutIDs(t, 1, withoutDate(talk(t, address, get("/")))); got != want+string(answer.Body) {
		t.Errorf("GET: got %q", got)
	}
	if got := withoutIDs(t, 1, withoutDate(talk(t, address, strings.Replace(get("/"), "GET", "HEAD", 1)))); got != want {
		t.Errorf("HEAD: got %q", got)
	}
	if got := talk(t, address, withHost("CONNECT a:1 HTTP/1.1")); !strings.Contains(got, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n") {
		t.Errorf("CONNECT: got %q", got)
	}
}

// A refusal to HEAD has no body either, when it was the guard that found the fault.
func TestRefusalOfHead(t *testing.T) {
	_, address := startProxy(t, testOptions("http://127.0.0.1:1"))
	for _, request := range []string{"HEAD / HTTP/1.1\nHost: a\r\n\r\n", withHost("HEAD / HTTP/1.2"), withHost("HEAD / HTTP/1.1", "A b: c")} {
		if got := talk(t, address, request); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, "Connection: close\r\n\r\n") {
			t.Errorf("%q: got %q", request, got)
		}
	}
}

// fieldNames lists the names in a response's header, in order.
func fieldNames(t *testing.T, response string) (names []string) {
	t.Helper()
	header, _, ok := strings.Cut(response, "\r\n\r\n")
	if !ok {
		t.Fatalf("no header: %q", response)
	}
	for _, line := range strings.Split(header, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return names
}

// TestOurErrorsSayWhatWeMean checks the fields of the balancer's own answers: no Server, one Date,
// nothing that is not for the client.
func TestOurErrorsSayWhatWeMean(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Server.MaxBodySize = 10
	o.Routes = []routes.Config{{Path: "/a", Pool: "main"}}
	o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") })
	_, address := startProxy(t, o)
	plain := []string{"Content-Type", "Content-Length", "Date", "X-Request-Id", "Connection"}
	for _, test := range []struct {
		request string
		status  int
		want    []string
	}{
		{withHost("GET /a#b HTTP/1.1"), 400, plain},
		{"GET\r\n\r\n", 400, plain},
		{"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, plain}, // the beginning of TLS
		{get("/b"), 404, plain},
		{"GET /b HTTP/1.0\r\n\r\n", 404, plain},
		{withHost("CONNECT a:1 HTTP/1.1"), 405, []string{"Content-Type", "Content-Length", "Date", "X-Request-Id", "Allow", "Connection"}},
		{withHost("POST /a HTTP/1.1", "Content-Length: 11"), 413, plain},
		{withHost("GET /a HTTP/1.1", "A: "+strings.Repeat("a", 17<<10)), 431, plain},
		{get("/v1/api/"), 500, plain},
	} {
		got := talk(t, address, test.request)
		if names := fieldNames(t, got); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", test.status)) || !slices.Equal(names, test.want) {
			t.Errorf("%.60q: got %.20q with %q, want %d with %q", test.request, got, names, test.status, test.want)
		}
	}
}

// TestDateOfOwnAnswers checks that each answer given without a backend has one Date, the time of
// the answer.
func TestDateOfOwnAnswers(t *testing.T) {
	open := func(*Options) {}
	for _, test := range []struct {
		name, request string
		status        int
		change        func(*Options)
	}{
		{"not parsed", "GET\r\n\r\n", 400, open},
		{"bad request", withHost("GET /a#b HTTP/1.1"), 400, open},
		{"expectation", withHost("POST / HTTP/1.1", "Expect: b"), 417, open},
		{"limited", get("/"), 429, func(o *Options) { o.Limiter = limits(1, 0.0001) }},
		{"no route", get("/"), 404, func(o *Options) { o.Routes = []routes.Config{{Path: "/a", Pool: "main"}} }},
		{"no PROXY header", get("/"), 400, func(o *Options) {
			o.Server.ProxyProtocol, o.Server.TrustedProxies = true, prefixes("127.0.0.1")
		}},
		{"one connection too many", "", 503, func(o *Options) { o.Server.MaxConnections = 1 }},
		{"late response", get("/slow"), 504, func(o *Options) {
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = 50 * time.Millisecond
			o.Pools["main"] = pool
		}},
		{"API", get("/v1/api/"), 200, func(o *Options) { o.API = apiOf(func(*fasthttp.RequestCtx) {}) }},
		{"API with a Date", get("/v1/api/"), 200, func(o *Options) {
			o.API = apiOf(func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set("Date", "never") })
		}},
		{"API that starts its answer over", get("/v1/api/"), 200, func(o *Options) {
			o.API = apiOf(func(ctx *fasthttp.RequestCtx) { ctx.Response.Reset() })
		}},
		{"API for others", get("/v1/api/"), 403, func(o *Options) {
			o.API = apiOf(echoAPI)
			o.API.MayUse = func(ctx *fasthttp.RequestCtx) bool { ctx.SetStatusCode(403); return false }
		}},
		{"broken API", get("/v1/api/"), 500, func(o *Options) { o.API = apiOf(func(*fasthttp.RequestCtx) { panic("the API is broken") }) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-r.Context().Done()
				}
			}))
			test.change(&o)
			p, address := startProxy(t, o)
			first := newWire(t, address) // a limit, and a place, of 1
			first.send(withHost("GET / HTTP/1.1"))
			first.receive("GET")
			if o.Server.MaxConnections > 0 { // an idle connection would make place
				first.send(withHost("GET /slow HTTP/1.1"))
				eventually(t, "the place to be taken", func() bool { return requestsUnderWay(p) == 1 })
			}
			w := newWire(t, address)
			before := time.Now().Add(-2 * time.Second) // the API's is up to a second old
			w.send(test.request)
			got := w.receive("GET")
			after := time.Now()
			dates := got.Header["Date"]
			if got.StatusCode != test.status || len(dates) != 1 {
				t.Fatalf("got %d with the dates %q, want %d with one", got.StatusCode, dates, test.status)
			}
			if at, err := time.Parse(http.TimeFormat, dates[0]); err != nil || at.Before(before) || at.After(after) {
				t.Errorf("Date %q, %v, want one between %v and %v", dates[0], err, before, after)
			}
		})
	}
}

var dateLine = regexp.MustCompile(`\r\nDate: [^\r]* GMT\r\n`)

// withoutDate takes the Date off an answer of the balancer's own.
func withoutDate(answer string) string { return dateLine.ReplaceAllString(answer, "\r\n") }
