package proxy

import (
	"strings"
	"testing"
)

var requestHeaders = []struct {
	name, request, want string
	trusted             bool
}{
	{"order, case, duplicates and empty values stay",
		lines("GET /a//b/%2e%2E/c%2Fd?x HTTP/1.1", "zEBRA: 1", "Cookie: a=1", "Host: example.com", "User-Agent:", "cookie:b=2 ", "Accept:\t*/*", "Content-Type: text/plain", "X_Odd: 1", "zebra: 2"),
		lines("GET /a//b/%2e%2E/c%2Fd?x HTTP/1.1", "zEBRA: 1", "Cookie: a=1", "Host: example.com", "User-Agent:", "cookie:b=2 ", "Accept:\t*/*", "Content-Type: text/plain", "X_Odd: 1", "zebra: 2", plainForwarded), false},
	{"fields of this hop end here",
		withHost("GET / HTTP/1.1", "A: 1", "Connection: keep-alive, X-Hop", "Keep-Alive: 5", "TE: trailers", "Trailer: A", "Upgrade: h2c", "Proxy-Connection: close",
			"Proxy-Authorization: Basic YTpi", "Proxy-Authenticate: Basic", "X-Hop: 1", "x-hop: 2", "Expect: 100-continue", "B: 2"),
		withHost("GET / HTTP/1.1", "A: 1", "B: 2", "TE: trailers", "Connection: TE", plainForwarded), false},
	{"other codings than trailers are not passed on", withHost("GET / HTTP/1.1", "TE: gzip;q=0.5, deflate", "Connection: TE"),
		withHost("GET / HTTP/1.1", plainForwarded), false},
	{"trailers among them are", withHost("GET / HTTP/1.1", "te: gzip;q=0.5,Trailers ", "TE: deflate"),
		withHost("GET / HTTP/1.1", "TE: trailers", "Connection: TE", plainForwarded), false},
	{"HTTP/1.0 has no trailers", withHost("GET / HTTP/1.0", "TE: trailers"), withHost("GET / HTTP/1.1", plainForwarded), false},
	{"trailers announced before chunks", withHost("POST / HTTP/1.1", "tRAILER: X-Sum ", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "tRAILER: X-Sum ", "Transfer-Encoding: chunked", plainForwarded), false},
	{"trailers announced, but for this hop", withHost("POST / HTTP/1.1", "Trailer: X-Sum", "Connection: trailer", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", plainForwarded), false},
	{"trailers announced, but no chunks", withHost("POST / HTTP/1.1", "Trailer: X-Sum", "Content-Length: 0"),
		withHost("POST / HTTP/1.1", "Content-Length: 0", plainForwarded), false},
	{"Connection cannot take these off",
		lines("GET / HTTP/1.1", "Connection: host, authorization, content-length, x-forwarded-for, cookie", "Host: example.com", "Authorization: Basic YTpi", "Content-Length: 0", "Cookie: a=1"),
		lines("GET / HTTP/1.1", "Host: example.com", "Authorization: Basic YTpi", "Content-Length: 0", plainForwarded), false},
	{"what a stranger says of itself is dropped",
		withHost("GET / HTTP/1.1", "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1", "x-forwarded-proto: https", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 443", "X-Forwarded-For: 203.0.113.2", "A: 1"),
		withHost("GET / HTTP/1.1", "A: 1", plainForwarded), false},
	{"what a trusted proxy says is kept",
		withHost("GET / HTTP/1.1", "X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1", "x-forwarded-proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Port: 443", "X-Forwarded-For: 10.0.0.1,10.0.0.2", "A: 1"),
		withHost("GET / HTTP/1.1", "Forwarded: for=203.0.113.1", "X-Forwarded-Port: 443", "A: 1",
			"X-Forwarded-For: 203.0.113.1, 10.0.0.1,10.0.0.2, 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example"), true},
	{"a stranger's X-Real-IP is replaced, once and in its place",
		withHost("GET / HTTP/1.1", "A: 1", "X-Real-IP: 203.0.113.1", "B: 2", "x-real-ip:", "X-REAL-IP: 127.0.0.1, 203.0.113.1", "C: 3"),
		withHost("GET / HTTP/1.1", "A: 1", "X-Real-IP: 127.0.0.1", "B: 2", "C: 3", plainForwarded), false},
	{"Connection cannot take X-Real-IP off", withHost("GET / HTTP/1.1", "x-real-ip:203.0.113.1", "Connection: X-Real-IP"),
		withHost("GET / HTTP/1.1", "x-real-ip: 127.0.0.1", plainForwarded), false},
	{"a trusted proxy's X-Real-IP is kept", withHost("GET / HTTP/1.1", "X-Real-IP: 203.0.113.1", "Connection: X-Real-IP", "x-real-ip:b "),
		withHost("GET / HTTP/1.1", "X-Real-IP: 203.0.113.1", "x-real-ip:b ", plainForwarded), true},
	{"other fields with addresses are the client's own", withHost("GET / HTTP/1.1", "CF-Connecting-IP: 203.0.113.1"),
		withHost("GET / HTTP/1.1", "CF-Connecting-IP: 203.0.113.1", plainForwarded), false},
	{"the empty lines of X-Forwarded-For end here", withHost("GET / HTTP/1.1", "X-Forwarded-For:", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: "),
		withHost("GET / HTTP/1.1", "X-Forwarded-For: 203.0.113.1, 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"), true},
	{"the whole server", withHost("OPTIONS http://example.com HTTP/1.1"), withHost("OPTIONS * HTTP/1.1", plainForwarded), false},
	{"the root of the server", withHost("OPTIONS http://example.com/ HTTP/1.1"), withHost("OPTIONS / HTTP/1.1", plainForwarded), false},
	{"a trusted proxy that says nothing", withHost("GET / HTTP/1.1"), withHost("GET / HTTP/1.1", plainForwarded), true},
	{"Via of others stays", withHost("GET / HTTP/1.1", "Via: 1.1 edge"), withHost("GET / HTTP/1.1", "Via: 1.1 edge", plainForwarded), false},
	{"HTTP/1.0", withHost("GET / HTTP/1.0", "Connection: keep-alive"), withHost("GET / HTTP/1.1", plainForwarded), false},
	{"HTTP/1.0 without Host", lines("GET / HTTP/1.0", "A: 1"),
		lines("GET / HTTP/1.1", "A: 1", "Host: BACKEND", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"), false},
	{"HTTP/1.0 with an empty Host", lines("GET / HTTP/1.0", "Host:", "A: 1"),
		lines("GET / HTTP/1.1", "A: 1", "Host: BACKEND", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"), false},
	{"HTTP/1.0 without a field", "GET / HTTP/1.0\r\n\r\n",
		lines("GET / HTTP/1.1", "Host: BACKEND", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"), false},
	{"absolute form", withHost("GET http://EXAMPLE.com/a?b HTTP/1.1"),
		withHost("GET /a?b HTTP/1.1", plainForwarded), false},
	{"absolute form with the default port", withHost("GET http://example.com:80/a HTTP/1.1"), withHost("GET /a HTTP/1.1", plainForwarded), false},
	{"absolute form, the default port in Host", lines("GET https://example.com/a HTTP/1.1", "Host: Example.com:443"),
		lines("GET /a HTTP/1.1", "Host: Example.com:443", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: Example.com:443"), false},
	{"absolute form with two slashes", withHost("GET http://example.com//a//b HTTP/1.1"), withHost("GET //a//b HTTP/1.1", plainForwarded), false},
	{"absolute form with a query and no path", withHost("GET http://example.com?x=/1?2 HTTP/1.1"), withHost("GET /?x=/1?2 HTTP/1.1", plainForwarded), false},
	{"the same to the whole server", withHost("OPTIONS https://example.com:443?x HTTP/1.1"), withHost("OPTIONS /?x HTTP/1.1", plainForwarded), false},
	{"the same without Host", lines("GET https://example.com?x=1 HTTP/1.0"), lines("GET /?x=1 HTTP/1.1", "Host: example.com", plainForwarded), false},
	{"two slashes", withHost("GET //secrets?v=7 HTTP/1.1"), withHost("GET //secrets?v=7 HTTP/1.1", plainForwarded), false},
	{"a dot behind the host", lines("GET / HTTP/1.1", "Host: example.com.:80"),
		lines("GET / HTTP/1.1", "Host: example.com.:80", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com.:80"), false},
	{"an empty Expect", withHost("GET / HTTP/1.1", "Expect:", "A: 1"), withHost("GET / HTTP/1.1", "A: 1", plainForwarded), false},
	{"absolute form without path", withHost("GET http://example.com HTTP/1.1"), withHost("GET / HTTP/1.1", plainForwarded), false},
	{"absolute form names the host", lines("GET http://example.com/ HTTP/1.0"),
		lines("GET / HTTP/1.1", "Host: example.com", plainForwarded), false},
	{"absolute form and an empty Host", lines("GET http://example.com/ HTTP/1.0", "Host:"),
		lines("GET / HTTP/1.1", "Host: example.com", plainForwarded), false},
	{"asterisk form", withHost("OPTIONS * HTTP/1.1"), withHost("OPTIONS * HTTP/1.1", plainForwarded), false},
	{"chunked", withHost("POST / HTTP/1.1", "transfer-encoding:CHUNKED", "A: 1") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "A: 1", "Transfer-Encoding: chunked", plainForwarded), false},
	{"a method of its own case", withHost("get / HTTP/1.1"), withHost("get / HTTP/1.1", plainForwarded), false},
	{"port", lines("GET / HTTP/1.1", "Host: [::1]:8080"),
		lines("GET / HTTP/1.1", "Host: [::1]:8080", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: [::1]:8080"), false},
}

func TestRequestHeader(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	_, stranger := startProxy(t, o)
	o.Server.TrustedProxies = prefixes("127.0.0.0/8")
	_, trusting := startProxy(t, o)
	for _, test := range requestHeaders {
		t.Run(test.name, func(t *testing.T) {
			address := stranger
			if test.trusted {
				address = trusting
			}
			if code := status(t, address, test.request); code != 204 {
				t.Fatalf("got %d", code)
			}
			want := strings.ReplaceAll(test.want, "BACKEND", addressOf(url))
			if header := withoutIDs(t, 1, <-got); header != want {
				t.Errorf("got\n%q, want\n%q", header, want)
			}
		})
	}
}

// A header that grows on its way, and one larger than the buffers that wait for it, arrive whole.
func TestLargeRequestHeader(t *testing.T) {
	url, got := startRecordingBackend(t)
	o := testOptions(url)
	o.Server.MaxHeaderSize = 256 << 10
	_, address := startProxy(t, o)
	for _, size := range []int{20<<10 - 100, 20 << 10, 64 << 10, 200 << 10} {
		large := "A: " + strings.Repeat("a", size)
		if code := status(t, address, withHost("GET / HTTP/1.1", large)); code != 204 {
			t.Fatalf("%d bytes: got %d", size, code)
		}
		if header, want := withoutIDs(t, 1, <-got), withHost("GET / HTTP/1.1", large, plainForwarded); header != want {
			t.Errorf("%d bytes: got %d, want %d", size, len(header), len(want))
		}
	}
}
