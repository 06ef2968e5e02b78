package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// startRecordingBackend hands over each request's header as it came, and answers
// with 204.
func startRecordingBackend(t *testing.T) (url string, got <-chan string) {
	headers := make(chan string, 16)
	return startRawBackend(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			header, err := readRequestHeader(r)
			if err != nil {
				return
			}
			if headers <- header; strings.Contains(header, "chunked\r\n") {
				_, _ = readRequestHeader(r) // an empty body ends as a header does
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}), headers
}

const plainForwarded = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com"

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
			want := strings.ReplaceAll(test.want, "BACKEND", strings.TrimPrefix(url, "http://"))
			if header := <-got; header != want {
				t.Errorf("got\n%q, want\n%q", header, want)
			}
		})
	}
}

// A header that grows on its way, and one larger than the buffers that wait for it,
// arrive whole.
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
		if header, want := <-got, withHost("GET / HTTP/1.1", large, plainForwarded); header != want {
			t.Errorf("%d bytes: got %d, want %d", size, len(header), len(want))
		}
	}
}

func TestResponseHeaderToClient(t *testing.T) {
	const (
		get11 = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		get10 = "GET / HTTP/1.0\r\n\r\n"
		head  = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		close = "Connection: close"
	)
	for _, test := range []struct{ name, request, response, want string }{
		{"order, case, duplicates and empty values stay", get11,
			lines("HTTP/1.1 200 Fine", "sERVER: x", "Set-Cookie: a=1", "Date: never", "set-cookie:b=2 ", "X-Empty:", "Content-Length: 2", "Content-Type: a/b") + "ok",
			lines("HTTP/1.1 200 Fine", "sERVER: x", "Set-Cookie: a=1", "Date: never", "set-cookie:b=2 ", "X-Empty:", "Content-Length: 2", "Content-Type: a/b", close) + "ok"},
		{"nothing is added", get11, lines("HTTP/1.1 200 OK", "Content-Length: 0"), lines("HTTP/1.1 200 OK", "Content-Length: 0", close)},
		{"fields of this hop end here", get11,
			lines("HTTP/1.1 200 OK", "A: 1", "Connection: X-Hop", "Keep-Alive: 5", "Upgrade: h2c", "Trailer: B", "Proxy-Connection: a", "x-hop: 1", "Content-Length: 0", "B: 2"),
			lines("HTTP/1.1 200 OK", "A: 1", "Content-Length: 0", "B: 2", close)},
		{"Connection cannot take the length off", get11, lines("HTTP/1.1 200 OK", "Connection: Content-Length", "Content-Length: 2") + "ok", lines("HTTP/1.1 200 OK", "Content-Length: 2", close) + "ok"},
		{"no phrase", get11, lines("HTTP/1.1 299", "Content-Length: 0"), lines("HTTP/1.1 299 ", "Content-Length: 0", close)},
		{"HTTP/1.0 of the backend", get11, lines("HTTP/1.0 200 OK", "Content-Length: 0"), lines("HTTP/1.1 200 OK", "Content-Length: 0", close)},
		{"the protocol that the backend wants", get11, lines("HTTP/1.1 426 Upgrade Required", "Upgrade: TLS/1.0", "Connection: Upgrade", "Content-Length: 0"),
			lines("HTTP/1.1 426 Upgrade Required", "Upgrade: TLS/1.0", "Content-Length: 0", "Connection: Upgrade", close)},
		{"chunked", get11, lines("HTTP/1.1 200 OK", "transfer-encoding: Chunked", "A: 1") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "A: 1", "Transfer-Encoding: chunked", close) + "2\r\nok\r\n0\r\nT: 1\r\n\r\n"},
		{"trailers announced", get11, lines("HTTP/1.1 200 OK", "trailer:T", "Transfer-Encoding: chunked", "TE: trailers") + "0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "trailer:T", "Transfer-Encoding: chunked", close) + "0\r\nT: 1\r\n\r\n"},
		{"trailers announced, but for this hop", get11, lines("HTTP/1.1 200 OK", "Trailer: T", "Connection: Trailer", "Transfer-Encoding: chunked") + "0\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "0\r\n\r\n"},
		{"trailers for HTTP/1.0", get10, lines("HTTP/1.1 200 OK", "Trailer: T", "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", close) + "ok"},
		{"trailers announced to HEAD", head, lines("HTTP/1.1 200 OK", "Trailer: T", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", close)},
		{"chunks of HTTP/1.0", get11, lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Connection: keep-alive") + "2\r\nok\r\n0\r\nT: 1\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "2\r\nok\r\n0\r\nT: 1\r\n\r\n"},
		{"control bytes in trailers", get11, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "0\r\nT: \x01\x7f\r\n\r\n",
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", close) + "0\r\nT: \x01\x7f\r\n\r\n"},
		{"chunked for HTTP/1.0", get10, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "A: 1") + "2\r\nok\r\n0\r\n\r\n", lines("HTTP/1.1 200 OK", "A: 1", close) + "ok"},
		{"HTTP/1.0 that closes", get10, lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", lines("HTTP/1.1 200 OK", "Content-Length: 2", close) + "ok"},
		{"HEAD", head, lines("HTTP/1.1 200 OK", "Content-Length: 2"), lines("HTTP/1.1 200 OK", "Content-Length: 2", close)},
		{"HEAD of chunked", head, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", close)},
		{"304", get11, lines("HTTP/1.1 304 Not Modified", "Content-Length: 2"), lines("HTTP/1.1 304 Not Modified", "Content-Length: 2", close)},
		{"204 has no length", get11, lines("HTTP/1.1 204 No Content", "Content-Length: 0", "A: 1"), lines("HTTP/1.1 204 No Content", "A: 1", close)},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(test.response))))
			if got := talk(t, address, test.request); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// A client of HTTP/1.0 that asks for it keeps its connection, and is told so.
func TestKeepAliveForHTTP10(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Content-Length: 2")+"ok"))))
	got := talk(t, address, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
	want := lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive") + "ok" + lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "ok"
	if got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestRateLimitFields(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Content-Length: 2")+"ok")))
	o.Limiter = limits(1, 0.01)
	_, address := startProxy(t, o)
	got := talk(t, address, get("/"))
	if want := lines("HTTP/1.1 200 OK", "Content-Length: 2", `RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`, "Connection: close") + "ok"; got != want {
		t.Errorf("admitted: got\n%q, want\n%q", got, want)
	}
	got = talk(t, address, get("/"))
	for _, want := range []string{"HTTP/1.1 429 ", `RateLimit-Policy: "default";q=1;w=100`, `RateLimit: "default";r=0;t=100`, "Retry-After: 100", `"reason":"limited"`} {
		if !strings.Contains(got, want) {
			t.Errorf("rejected: %q is missing in %q", want, got)
		}
	}
}
