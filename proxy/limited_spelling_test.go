package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"
)

// oddFields are what clients send to pass for another client.
var oddFields = []string{
	"X-Forwarded-For: 192.0.2.%d", "x-forwarded-for: 192.0.2.%[1]d\r\nX-FORWARDED-FOR: 198.51.100.%[1]d", "X-Forwarded-For: ::ffff:192.0.2.%d", "X-Forwarded-For: [2001:db8:%d::1]:443",
	"X-Forwarded-For: 127.0.0.1, 192.0.2.%d", "X-Forwarded-For:\r\nX-Forwarded-For: 192.0.2.%d", "Forwarded: for=192.0.2.%d", "X-Real-IP: 192.0.2.%d", "True-Client-IP: 192.0.2.%d",
	"X-Client-IP: 192.0.2.%d", "CF-Connecting-IP: 192.0.2.%d", "X-Forwarded-Host: h%d", "X-Forwarded-Proto: https%d", "X-API-Key: %d", "Authorization: Bearer %d", "Cookie: session=%d",
	"Via: 1.1 proxy%d", "Connection: X-Forwarded-For, a%d\r\nX-Forwarded-For: 192.0.2.1", "Connection: RateLimit\r\nRateLimit: \"default\";r=%d;t=0", "User-Agent: %d", "A: 1\r\nA: 2\r\na: %d",
}

// oddRequests are spellings of a request that leave the connection where the next
// begins.
var oddRequests = []string{
	"GET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nhOST:h\r\n", "\r\nGET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n", "GET / HTTP/1.0\r\nHost:\r\nConnection: Keep-Alive\r\n",
	"get / HTTP/1.1\r\nHost: h\r\n", "PURGE / HTTP/1.1\r\nHost: h\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n",
	"GET //h/ HTTP/1.1\r\nHost: h\r\n", "GET //v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET http://h//v1/api/ HTTP/1.1\r\nHost: h:80\r\n", "GET https://h?/v1/api/ HTTP/1.1\r\nHost: h:443\r\n", "GET / HTTP/1.1\r\nHost: h.\r\nExpect:\r\n",
	"GET http://h/ HTTP/1.1\r\nHost: h\r\n", "GET HTTP://H HTTP/1.1\r\nHost: h\r\n", "GET http://h:80/ HTTP/1.1\r\nHost: h:80\r\n", "GET /./ HTTP/1.1\r\nHost: h\r\n", "GET /%2e%2e/ HTTP/1.1\r\nHost: h\r\n",
	"GET /a/../ HTTP/1.1\r\nHost: other\r\n", "GET /a//b HTTP/1.1\r\nHost: h\r\n", "GET /?a=/v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET /v1/api HTTP/1.1\r\nHost: h\r\n", "GET /V1/API/ HTTP/1.1\r\nHost: h\r\n",
	"GET /v1/%61pi/ HTTP/1.1\r\nHost: h\r\n", "GET /./v1/api/ HTTP/1.1\r\nHost: h\r\n", "GET http://h/v1//api/ HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n",
}

// TestNoSpellingBuysAToken sends 200 requests of every spelling at once, on one
// connection: as many pass as the bucket holds, and no more reach a backend.
func TestNoSpellingBuysAToken(t *testing.T) {
	const capacity, requests = 7, 200
	url, seen := startRequestCounter(t)
	for seed, fields := range oddFields {
		o := testOptions(url)
		o.Limiter = limits(capacity, 0.001)
		o.API = apiOf(func(*fasthttp.RequestCtx) { t.Error("a request reached the API") })
		_, address := startProxy(t, o)
		seen.Store(0)
		var all strings.Builder
		for i := range requests {
			all.WriteString(oddRequests[(seed+i)%len(oddRequests)] + fmt.Sprintf(fields, i) + "\r\n\r\n")
		}
		w := newWire(t, address)
		w.send(all.String())
		passed := 0
		for i := range requests {
			switch got := w.receive("GET"); got.StatusCode {
			case 200:
				passed++
			case 429:
			default:
				t.Fatalf("%q: request %d, %q: got %d", fields, i, oddRequests[(seed+i)%len(oddRequests)], got.StatusCode)
			}
		}
		if passed != capacity || seen.Load() != capacity {
			t.Errorf("%q: %d passed and %d reached the backend, want %d", fields, passed, seen.Load(), capacity)
		}
	}
}

// startRequestCounter answers each request with 200, and counts them.
func startRequestCounter(t testing.TB) (url string, seen *atomic.Int64) {
	seen = new(atomic.Int64)
	return startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			seen.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}), seen
}

// TestNoFramingBuysAToken tries what ends the connection, once the bucket is empty.
func TestNoFramingBuysAToken(t *testing.T) {
	url, seen := startRequestCounter(t)
	o := testOptions(url)
	o.Limiter = limits(1, 0.001)
	_, address := startProxy(t, o)
	if got := status(t, address, get("/")); got != 200 {
		t.Fatalf("the first request got %d", got)
	}
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, request := range []string{
		withHost("POST / HTTP/1.1", "Content-Length: 5", "Expect: 100-continue", "Connection: close") + "hello",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close") + inChunks([]byte(smuggled)),
		withHost("POST / HTTP/1.1", "Content-Length: 1000000"),
		withHost("POST / HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(smuggled)), "Connection: close") + smuggled,
		withHost("POST / HTTP/1.1", "Content-Length: 0", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled,
		withHost("POST / HTTP/1.1", "Content-Length: 0", fmt.Sprintf("Content-Length: %d", len(smuggled))) + smuggled,
		withHost("GET / HTTP/1.1", "Upgrade: websocket", "Connection: upgrade, close"),
		withHost("GET / HTTP/1.1", "Host: other"), withHost("GET / HTTP/1.1", "X_Forwarded_For: 192.0.2.1"),
		withHost("GET / HTTP/1.1", "X-Forwarded-For : 192.0.2.1"), withHost("GET / HTTP/1.1", " X-Forwarded-For: 192.0.2.1"),
		"GET / HTTP/1.0\r\n\r\n", "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\n\n", proxyV1 + get("/"),
	} {
		if got := talk(t, address, request); strings.Contains(got, "HTTP/1.1 2") || !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%.80q: got %q", request, got)
		}
	}
	if got := seen.Load(); got != 1 {
		t.Errorf("%d requests reached the backend, want 1", got)
	}
}
