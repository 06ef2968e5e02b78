package proxy

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestPlainHost(t *testing.T) {
	for _, test := range []struct {
		authority, want string
	}{
		{"a.example", "a.example"},
		{"A.Example:80", "A.Example"},
		{"a.example.", "a.example."},
		{"a_b.example:8080", "a_b.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a:", "a"},
		{"192.0.2.1:80", "192.0.2.1"},
		{"[2001:db8::1]", "[2001:db8::1]"},
		{"[2001:db8::1]:80", "[2001:db8::1]"},
		{"", ""},
		{":80", ""},
		{".", ""},
		{".a", ""},
		{"a%2eevil.example", ""},
		{"a!b", ""},
		{"a,b", ""},
		{"a;b", ""},
		{"a'b", ""},
		{"a~b", ""},
		{"[::::]", ""},
		{"[1.2.3.4]", ""},
		{"[fe80::1%251]", ""},
	} {
		got, ok := plainHost([]byte(test.authority))
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%q: %q, %v, want %q", test.authority, got, ok, test.want)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, test := range []struct {
		to     net.Addr
		target string
		want   string
	}{
		{&net.TCPAddr{Port: 443}, "/", "https://a/"},
		{&net.TCPAddr{Port: 8443}, "/", "https://a:8443/"},
		{&net.UnixAddr{Name: "/tmp/a", Net: "unix"}, "/", "https://a/"},
		{&net.TCPAddr{Port: 443}, "//evil.example/%2e%2E/x?y=/?z", "https://a//evil.example/%2e%2E/x?y=/?z"},
		{&net.TCPAddr{Port: 443}, `/\evil.example"<>`, `https://a/\evil.example"<>`},
		{&net.TCPAddr{Port: 443}, "*", "https://a"},
	} {
		if got := string(appendLocation(nil, "a", test.to, []byte(test.target))); got != test.want {
			t.Errorf("%s at %s: %q, want %q", test.target, test.to, got, test.want)
		}
	}
}

// Every request gets 308, for its own path and query, whatever its method, its body and its length.
func TestRedirect(t *testing.T) {
	url, seen := startCountingBackend(t)
	var log logLines
	o := testOptions(url)
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	o.API = apiOf(echoAPI)
	e := startEdge(t, o, false)
	to := "https://example.com:" + e.secure[strings.LastIndex(e.secure, ":")+1:]
	client := newWire(t, e.plain)
	for _, test := range []struct{ request, method, want string }{
		{withHost("GET /a?b HTTP/1.1"), "GET", to + "/a?b"},
		{withHost("HEAD / HTTP/1.1"), "HEAD", to + "/"},
		{withHost("POST //a//%2e%2E/;?x=/../?y&&z= HTTP/1.1", "Content-Length: 5") + "hello", "POST", to + "//a//%2e%2E/;?x=/../?y&&z="},
		{withHost("PUT /v1/api/clients/ HTTP/1.1", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", "PUT", to + "/v1/api/clients/"},
		{withHost("M-SEARCH http://example.com:80/a HTTP/1.1"), "M-SEARCH", to + "/a"},
		{withHost("OPTIONS * HTTP/1.1"), "OPTIONS", to},
		{lines("GET /a HTTP/1.1", "Host: example.com:8080"), "GET", to + "/a"},
		{withHost("GET /.well-known/acme-challenge/abc HTTP/1.1"), "GET", to + "/.well-known/acme-challenge/abc"},
		{withHost("GET /" + strings.Repeat("a", 15<<10) + " HTTP/1.1"), "GET", to + "/" + strings.Repeat("a", 15<<10)},
		{lines("GET /a HTTP/1.0", "Host: example.com"), "GET", to + "/a"},
	} {
		client.send(test.request)
		a := client.receive(test.method)
		if a.StatusCode != 308 || a.Header.Get("Location") != test.want || len(a.body) != 0 || a.Header.Get("X-Request-Id") == "" || a.Header.Get("Date") == "" || a.ContentLength != 0 {
			t.Errorf("%.60q: %d %v, want %s", test.request, a.StatusCode, a.Header, test.want)
		}
	}
	client.mustEnd() // HTTP/1.0
	waitIdle(t, e.Proxy)
	checkLine(t, log.parsed(t)[0], map[string]any{"status": 308.0, "method": "GET", "host": "example.com", "path": "/a", "address": "127.0.0.1"})
	if got := metric(e.Proxy, `lb_requests_total{pool="",code="308"}`); got != "10" {
		t.Errorf("%s are counted", got)
	}
	mustHaveNoErrors(t, e.Proxy)
	if seen.Load() != 0 {
		t.Errorf("the backend has got %d bytes", seen.Load())
	}
}

// What the guard refuses is refused here, too, and a host that is no plain name gets no URL.
func TestRedirectRefuses(t *testing.T) {
	e := startEdge(t, testOptions("http://127.0.0.1:1"), false)
	for _, request := range []string{
		lines("GET / HTTP/1.0"), lines("GET / HTTP/1.1"), lines("GET / HTTP/1.1", "Host: a", "Host: b"), lines("GET / HTTP/1.1", "Host: a@evil.example"), lines("GET / HTTP/1.1", "Host: evil.example/x"),
		lines("GET / HTTP/1.1", "Host: a%2eevil.example"), lines("GET / HTTP/1.1", "Host: a,b"), lines("GET / HTTP/1.1", "Host: a;b"), lines("GET / HTTP/1.1", "Host: :80"), lines("GET / HTTP/1.1", `Host: a\evil.example`),
		lines("GET http://evil.example/ HTTP/1.1", "Host: a"), lines("GET /a b HTTP/1.1", "Host: a"), lines("GET /#a HTTP/1.1", "Host: a"), lines("GET /\r\nX: b HTTP/1.1", "Host: a"), lines("GET /\x01 HTTP/1.1", "Host: a"),
		lines("GET / HTTP/1.1", "Host: a\rSet-Cookie: b"), lines("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"),
	} {
		answer := talk(t, e.plain, request)
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || strings.Contains(answer, "Location") || strings.Contains(answer, "Set-Cookie") {
			t.Errorf("%q: %q", request, answer)
		}
	}
	if got := status(t, e.plain, withHost("CONNECT example.com:443 HTTP/1.1")); got != 405 {
		t.Errorf("CONNECT: %d", got)
	}
}

// Challenges of ACME are asked for first, and those without an answer are sent on.
func TestChallenges(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	var asking sync.Mutex
	var asked []string
	o.Edge.Challenge = func(host, token string) (string, bool) {
		asking.Lock()
		defer asking.Unlock()
		asked = append(asked, host+" "+token)
		return token + ".thumbprint", token == "known"
	}
	e := startEdge(t, o, false)
	client := newWire(t, e.plain)
	for _, test := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/.well-known/acme-challenge/known", 200},
		{"GET", "/.well-known/acme-challenge/known?a", 200},
		{"GET", "/.well-known/acme-challenge/unknown", 308},
		{"GET", "/.well-known/acme-challenge/", 308},
		{"GET", "/.well-known/acme-challenge", 308},
		{"POST", "/.well-known/acme-challenge/known", 308},
		{"GET", "/a", 308},
	} {
		client.send(lines(test.method+" "+test.target+" HTTP/1.1", "Host: A.Example.:80"))
		a := client.receive(test.method)
		if a.StatusCode != test.want || test.want == 200 && string(a.body) != "known.thumbprint" {
			t.Errorf("%s %s: %d %q", test.method, test.target, a.StatusCode, a.body)
		}
	}
	asking.Lock()
	defer asking.Unlock()
	if want := "[a.example known a.example known a.example unknown a.example ]"; fmt.Sprint(asked) != want {
		t.Errorf("asked for %v, want %s", asked, want)
	}
}

// The listener of the redirect has its part in the timeouts and in the limit of connections.
func TestRedirectIsBounded(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Server.MaxConnections, o.Server.ReadHeaderTimeout = 1, 100*time.Millisecond
	e := startEdge(t, o, false)
	busy := newWire(t, e.clear)
	busy.send(withHost("GET / HTTP/1.1"))
	<-entered
	if a := newWire(t, e.plain).receive("GET"); a.StatusCode != 503 { // without a request
		t.Errorf("over max_connections: %d", a.StatusCode)
	}
	release <- true
	busy.receive("GET")
	busy.Close()
	eventually(t, "the end of the connection", func() bool { return metric(e.Proxy, "lb_connections") == "0" })
	slow := newWire(t, e.plain)
	slow.send("GET / HTTP/1.1\r\nHost: a")
	if a := slow.receive("GET"); a.StatusCode != 408 {
		t.Errorf("a slow header: %d", a.StatusCode)
	}
	slow.mustEnd()
}

// The listener of the redirect stays open for the shutdown delay, and ends with the others.
func TestRedirectDrains(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.ShutdownDelay = 300 * time.Millisecond
	e := startEdge(t, o, false)
	kept := newWire(t, e.plain)
	kept.send(withHost("GET / HTTP/1.1"))
	kept.receive("GET")
	e.stop()
	eventually(t, "the delay", func() bool { return e.Ready() != nil })
	if got := status(t, e.plain, withHost("GET / HTTP/1.1")); got != 308 {
		t.Errorf("in the delay: %d", got)
	}
	kept.mustEnd()
	eventually(t, "the end of the listener", func() bool {
		conn, err := net.Dial("tcp", e.plain)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}
