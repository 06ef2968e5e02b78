package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/upstream"
)

// failure is a way to fail and what the client is to see of it.
type failure struct {
	name    string
	backend func(t *testing.T) string // nil: one that works
	change  func(*Options)
	request string // "": a GET
	before  string // sent, and its response dropped, first
	reason  string
	status  int
}

func rawAnswer(response string) func(*testing.T) string {
	return func(t *testing.T) string {
		return startRawBackend(t, func(conn net.Conn) {
			if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, response)
			}
		})
	}
}

// silentBackend reads and never answers.
func silentBackend(t *testing.T) string {
	return startRawBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

// fullBackend listens with a queue that is full, so that connecting takes for ever.
func fullBackend(t *testing.T) string {
	fd, address := bind(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the queue holds one more than it says
		if conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return "http://" + address
}

// shortTimeouts are short enough to wait for, and long enough that a busy machine
// does not run into one that is not meant.
func shortTimeouts(o *Options) {
	pool := o.Pools["main"]
	pool.Timeouts = upstream.TimeoutConfig{Connect: 100 * time.Millisecond, ResponseHeader: 250 * time.Millisecond}
	o.Pools["main"] = pool
	o.Server.ReadHeaderTimeout = 500 * time.Millisecond
	o.Server.BodyTimeout = 500 * time.Millisecond
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
		change: func(o *Options) { o.Routes = []RouteConfig{{Host: "other.example.com", Pool: "main"}} }},
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
	{name: "slow body to the API", reason: "request_timeout", status: 408,
		request: "POST /v1/api/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n1",
		change:  func(o *Options) { shortTimeouts(o); o.API = apiOf(echoAPI) }},
	{name: "large body to the API", reason: "body_too_large", status: 413,
		request: "POST /v1/api/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + inChunks(make([]byte, 3<<20)),
		change:  func(o *Options) { o.API = apiOf(echoAPI) }},
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
	"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 17<<10) + "\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}

// TestFailures holds each reason to its status, its body and its metric. No
// answer may tell where the backends are.
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

func checkProblem(t *testing.T, got answer, status int, reason, backend string) {
	t.Helper()
	var problem struct {
		Type, Title, Reason, Detail string
		Status                      int
	}
	if err := json.Unmarshal(got.body, &problem); err != nil {
		t.Fatalf("status %d, body %q: %v", got.StatusCode, got.body, err)
	}
	if got.StatusCode != status || problem.Status != status || problem.Reason != reason {
		t.Errorf("got %d, body %s, want %d %s", got.StatusCode, got.body, status, reason)
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type: %q", ct)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(backend, "http://"))
	if strings.Contains(string(got.body), port) {
		t.Errorf("the body tells the backend's port %s: %s", port, got.body)
	}
}

func TestNoBackend(t *testing.T) {
	url := startBackend(t, mirror)
	p, address := startProxy(t, testOptions(url))
	pool := p.pools[0]
	backend := backendOf(t, pool, strings.TrimPrefix(url, "http://"))
	pool.Mark(backend, upstream.Down, true)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	checkProblem(t, w.receive("GET"), 503, "no_backend", "http://-:-")
	pool.Mark(backend, upstream.Down, false)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := w.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d once the backend is back, on the same connection", got.StatusCode)
	}
}

// TestBackendConnectionsAreBounded holds one request at the backend, which may
// have one connection.
func TestBackendConnectionsAreBounded(t *testing.T) {
	release, entered := make(chan bool), make(chan bool)
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			entered <- true
			<-release
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	o.Pools["main"].Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	checkProblem(t, second.receive("GET"), 503, "overloaded", "http://-:-")
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "overloaded") == "1" })
	release <- true
	first.receive("GET")
	waitIdle(t, p)
	second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	release <- true
	if got := second.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d when the connection is free again", got.StatusCode)
	}
}

func TestClientConnectionsAreBounded(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Server.MaxConnections = 2
	var log logLines
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	for _, w := range []*rawClient{first, second} {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		w.receive("GET")
	}
	third := newWire(t, address)
	checkProblem(t, third.receive("GET"), 503, "overloaded", "http://-:-")
	third.mustEnd()
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "overloaded") == "1" })
	eventually(t, "the line of the access log", func() bool { return len(log.parsed(t)) == 1 })
	checkLine(t, log.parsed(t)[0], map[string]any{"client": "127.0.0.1", "address": "127.0.0.1", "status": 503., "reason": "overloaded",
		"level": "error", "method": nil, "path": nil, "pool": nil, "duration_ms": brief, "bytes_in": 0., "bytes_out": interval{200, 400}})
	first.Close()
	eventually(t, "the connection to be counted off", func() bool { return metric(p, "lb_connections") == "1" })
	fourth := newWire(t, address)
	fourth.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := fourth.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d when a connection is free again", got.StatusCode)
	}
}
