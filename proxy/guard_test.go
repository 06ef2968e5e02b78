package proxy

import (
	"strings"
	"testing"

	"loadbalancer/proxy/message"
)

// guardCases are requests of HTTP/1, and how they are answered.
var guardCases = []struct {
	name    string
	want    int
	request []string
}{
	{"plain", 200, []string{withHost("GET / HTTP/1.1")}},
	{"versions", 200, []string{withHost("GET / HTTP/1.0"), lines("GET / HTTP/1.0"), lines("GET / HTTP/1.0", "Host:")}},
	{"other versions", 400, []string{
		withHost("GET / HTTP/1.2"), withHost("GET / HTTP/2.0"), withHost("GET / HTTP/0.9"), withHost("GET / HTTP/9.9"),
		withHost("GET / http/1.1"), withHost("GET / HTTP/1.10"), withHost("GET / HTTP/1.1 "), withHost("GET /"),
		withHost("GET / FTP/1.1"), "GET /\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	}},
	{"methods", 200, []string{withHost("PATCH / HTTP/1.1"), withHost("get / HTTP/1.1"), withHost("M-SEARCH / HTTP/1.1")}},
	{"broken methods", 400, []string{withHost("G(T / HTTP/1.1"), withHost(" / HTTP/1.1"), withHost("GET\t/ HTTP/1.1"), withHost(" GET / HTTP/1.1")}},
	{"a long method", 200, []string{withHost(strings.Repeat("A", message.MaxMethod) + " / HTTP/1.1")}},
	{"too long methods", 400, []string{
		withHost(strings.Repeat("A", message.MaxMethod+1) + " / HTTP/1.1"), strings.Repeat("A", message.MaxMethod+1), "\r\n" + strings.Repeat("A", 15<<10),
		strings.Repeat("A", 20<<10),
	}},
	{"expectations", 200, []string{withHost("GET / HTTP/1.1", "Expect: 100-continue"), withHost("GET / HTTP/1.1", "expect:100-CONTINUE", "Expect: 100-continue"), withHost("GET / HTTP/1.0", "Expect: 100-continue"),
		withHost("GET / HTTP/1.1", "Expect:"), withHost("GET / HTTP/1.1", "Expect: \t "), withHost("POST / HTTP/1.1", "Expect: ", "Expect: 100-continue", "Content-Length: 3") + "abc",
		withHost("POST / HTTP/1.1", "Expect:", "Content-Length: 3") + "abc"}},
	{"other expectations", 417, []string{
		withHost("GET / HTTP/1.1", "Expect: 200-ok"), withHost("GET / HTTP/1.1", "Expect: 100-continue, x"), withHost("GET / HTTP/1.1", "Expect:", "Expect: x"),
		withHost("POST / HTTP/1.1", "Expect: 100-continue", "Expect: x", "Content-Length: 3"), withHost("POST / HTTP/1.1", "Expect: 100-continu", "Transfer-Encoding: chunked"),
		withHost("POST / HTTP/1.1", "Expect: x", "Content-Length: 3") + "abc", withHost("POST / HTTP/1.0", "Expect: x", "Content-Length: 3"),
	}},
	{"an expectation in a broken request", 400, []string{withHost("POST / HTTP/1.1", "Expect: x", "Content-Length: 3", "Content-Length: 3"), withHost("GET / HTTP/1.1", "Expect: x", "A b: c")}},
	{"connect", 405, []string{withHost("CONNECT example.com:443 HTTP/1.1"), withHost("CONNECT / HTTP/1.1")}},
	{"targets", 200, []string{
		withHost("GET /a//b/%2e%2E/c?d=/?e HTTP/1.1"), withHost("GET /%23 HTTP/1.1"),
		withHost("GET http://example.com/a?b HTTP/1.1"), withHost("GET http://example.com HTTP/1.1"),
		withHost("GET HTTP://EXAMPLE.com/ HTTP/1.1"), lines("GET http://example.com/ HTTP/1.0"),
		withHost("GET //example.com/ HTTP/1.1"), withHost("GET // HTTP/1.1"), withHost("GET http://example.com//evil HTTP/1.1"), withHost("GET ///a HTTP/1.1"),
		withHost("GET http://example.com:80/ HTTP/1.1"), withHost("GET http://example.com:/ HTTP/1.1"), withHost("GET https://example.com/ HTTP/1.1"), withHost("GET hTTPs://EXAMPLE.com:443 HTTP/1.1"),
		withHost("GET http://example.com?a HTTP/1.1"), withHost("GET http://example.com:80?a HTTP/1.1"), withHost("GET https://example.com?/a//b HTTP/1.1"), withHost("OPTIONS http://example.com? HTTP/1.1"),
		lines("GET http://a/ HTTP/1.1", "Host: a:80"), lines("GET http://a:/ HTTP/1.1", "Host: a:80"), lines("GET http://a:80/ HTTP/1.1", "Host: a:"), lines("GET https://a HTTP/1.1", "Host: A:443"),
		lines("GET http://[::1]/ HTTP/1.1", "Host: [::1]:80"), lines("GET https://[::1]:443/ HTTP/1.1", "Host: [::1]"), lines("GET http://a:81/ HTTP/1.1", "Host: a:81"), lines("GET http://a?b HTTP/1.0"),
	}},
	{"broken targets", 400, []string{
		withHost("GET /a#b HTTP/1.1"), withHost("GET /ä HTTP/1.1"), withHost("GET /\x80 HTTP/1.1"), withHost("GET /a b HTTP/1.1"),
		withHost("GET  / HTTP/1.1"), withHost("GET /\t HTTP/1.1"), withHost("GET /\x00 HTTP/1.1"), withHost("GET /\x7f HTTP/1.1"),
		withHost("GET * HTTP/1.1"), withHost("OPTIONS ** HTTP/1.1"), withHost("GET a HTTP/1.1"), withHost("GET example.com/ HTTP/1.1"),
		withHost("GET httpss://example.com/ HTTP/1.1"), withHost("GET ws://example.com/ HTTP/1.1"), withHost("GET https:example.com/ HTTP/1.1"), withHost("GET ftp://example.com/ HTTP/1.1"), withHost("GET http:/example.com/ HTTP/1.1"),
		withHost("GET http:///a HTTP/1.1"), withHost("GET http:// HTTP/1.1"), withHost("GET http://?a HTTP/1.1"), lines("GET http://:80/ HTTP/1.1", "Host: :80"), lines("GET http://: HTTP/1.0"),
		withHost("GET https:///a HTTP/1.1"), withHost("GET https://?a HTTP/1.1"), withHost("GET https://example.com:80/ HTTP/1.1"), withHost("GET http://example.com:443/ HTTP/1.1"),
		lines("GET http://a/ HTTP/1.1", "Host: a:443"), lines("GET http://a:80/ HTTP/1.1", "Host: b"), lines("GET http://a:81/ HTTP/1.1", "Host: a"), lines("GET http://a/ HTTP/1.1", "Host: a:8080"), lines("GET http://a:8080/ HTTP/1.1", "Host: a:80"),
		lines("GET http://a:180/ HTTP/1.1", "Host: a:1"), lines("GET http://[::80]/ HTTP/1.1", "Host: [:]"), withHost("GET http://example.com#a HTTP/1.1"), withHost("GET https://user@example.com?a HTTP/1.1"),
		withHost("GET http://example.com:80:80/ HTTP/1.1"), withHost("GET http://example.com::/ HTTP/1.1"), withHost("GET http://user@example.com/ HTTP/1.1"),
		withHost("GET http://user:secret@example.com/ HTTP/1.1"), withHost("GET http://other.example/ HTTP/1.1"),
		withHost("GET http://example.com:81/ HTTP/1.1"), withHost("GET http://example.com\\@evil/ HTTP/1.1"),
	}},
	{"hosts", 200, []string{
		lines("GET / HTTP/1.1", "Host: a"), lines("GET / HTTP/1.1", "hOST:a.b-c_d~:8080 "), lines("GET / HTTP/1.1", "Host: [::1]"),
		lines("GET / HTTP/1.1", "Host: [::ffff:127.0.0.1]:65535"), lines("GET / HTTP/1.1", "Host: 192.0.2.1:0"), lines("GET / HTTP/1.1", "Host: a:"),
	}},
	{"broken hosts", 400, []string{
		lines("GET / HTTP/1.1"), lines("GET / HTTP/1.1", "Host:"), lines("GET / HTTP/1.1", "Host: a", "Host: a"),
		lines("GET / HTTP/1.0", "Host: a", "host: b"), lines("GET / HTTP/1.1", "Host: a b"), lines("GET / HTTP/1.1", "Host: a, b"),
		lines("GET / HTTP/1.1", "Host: a/b"), lines("GET / HTTP/1.1", "Host: u@a"), lines("GET / HTTP/1.1", "Host: u:p@a"),
		lines("GET / HTTP/1.1", "Host: a:b"), lines("GET / HTTP/1.1", "Host: a:65536"), lines("GET / HTTP/1.1", "Host: a:1:2"),
		lines("GET / HTTP/1.1", "Host: a:-1"), lines("GET / HTTP/1.1", "Host: ::1"), lines("GET / HTTP/1.1", "Host: [::1"),
		lines("GET / HTTP/1.1", "Host: [::1]a"), lines("GET / HTTP/1.1", "Host: []"), lines("GET / HTTP/1.1", "Host: [g::1]"),
		lines("GET / HTTP/1.1", "Host: a?b"), lines("GET / HTTP/1.1", "Host: a#b"), lines("GET / HTTP/1.1", "Host: ä"),
		lines("GET / HTTP/1.1", "Host: \"a\""), lines("GET / HTTP/1.1", "Host: a\\b"),
	}},
	{"framing", 200, []string{
		withHost("POST / HTTP/1.1", "Content-Length: 0"), withHost("POST / HTTP/1.1", "Content-Length: 3") + "abc",
		withHost("POST / HTTP/1.1", "content-length:003") + "abc", withHost("GET / HTTP/1.1", "Content-Length: 3") + "abc",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n",
		withHost("POST / HTTP/1.1", "TRANSFER-ENCODING:CHUNKED") + "0\r\n\r\n",
		withHost("POST / HTTP/1.0", "Content-Length: 3") + "abc",
	}},
	{"broken framing", 400, []string{
		withHost("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 3") + "abc",
		withHost("POST / HTTP/1.1", "Content-Length: 3, 3") + "abc", withHost("POST / HTTP/1.1", "Content-Length: +3") + "abc",
		withHost("POST / HTTP/1.1", "Content-Length: -1"), withHost("POST / HTTP/1.1", "Content-Length: 0x3") + "abc",
		withHost("POST / HTTP/1.1", "Content-Length:"), withHost("POST / HTTP/1.1", "Content-Length: 3 3") + "abc",
		withHost("POST / HTTP/1.1", "Content-Length: 9999999999999999999"),
		withHost("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Content-Length: 0", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: identity"), withHost("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked, identity") + "0\r\n\r\n", withHost("POST / HTTP/1.1", "Transfer-Encoding:"),
		withHost("POST / HTTP/1.1", "Transfer-Encoding: xchunked"), withHost("POST / HTTP/1.1", "Transfer-Encoding: \"chunked\""),
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked;q=1"), withHost("POST / HTTP/1.1", "Transfer-Encoding: \x0bchunked"),
		withHost("POST / HTTP/1.1", "Transfer-Encoding:\r\n chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.0", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		withHost("POST / HTTP/1.1", "Transfer-Encoding : chunked") + "0\r\n\r\n",
	}},
	{"names", 200, []string{withHost("GET / HTTP/1.1", "X_Custom: 1", "a_b: 2", "Upgrade_Insecure: 1"), withHost("GET / HTTP/1.1", "X-Empty:")}},
	{"disguised names", 400, []string{
		withHost("POST / HTTP/1.1", "Content_Length: 3"), withHost("POST / HTTP/1.1", "transfer_encoding: chunked"),
		withHost("GET / HTTP/1.1", "X_Forwarded_For: 1.2.3.4"), withHost("GET / HTTP/1.1", "X-Forwarded_Proto: https"),
		withHost("GET / HTTP/1.1", "X_Forwarded-Host: a"), withHost("GET / HTTP/1.1", "x_forwarded_port: 1"), withHost("GET / HTTP/1.1", "X_Forwarded_"+strings.Repeat("a", 30)+": 1"),
	}},
	{"broken fields", 400, []string{
		withHost("GET / HTTP/1.1", "A b: c"), withHost("GET / HTTP/1.1", "A: b", " c"), withHost("GET / HTTP/1.1", "A: b", "\tc"),
		withHost("GET / HTTP/1.1", "A"), withHost("GET / HTTP/1.1", ": a"), withHost("GET / HTTP/1.1", "A\x00: b"),
		withHost("GET / HTTP/1.1", "A: b\x00"), withHost("GET / HTTP/1.1", "A: b\rc"), withHost("GET / HTTP/1.1", "A: b\r"),
		withHost("GET / HTTP/1.1", "A(: b"), withHost("GET / HTTP/1.1", "Ä: b"), "GET / HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n",
	}},
	{"line ends", 400, []string{
		"GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n", "GET / HTTP/1.1\nHost: a\n\n",
		"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
	}},
	{"one empty line first", 200, []string{"\r\n" + withHost("GET / HTTP/1.1")}},
	{"many fields", 200, []string{withHost("GET / HTTP/1.1", strings.Repeat("A: b\r\n", message.MaxFields-2)+"A: b")}},
	{"too many fields", 431, []string{withHost("GET / HTTP/1.1", strings.Repeat("A: b\r\n", message.MaxFields-1)+"A: b")}},
	{"large header", 200, []string{withHost("GET / HTTP/1.1", "A: "+strings.Repeat("a", 15<<10))}},
	{"too large header", 431, []string{withHost("GET / HTTP/1.1", "A: "+strings.Repeat("a", 16<<10)), withHost("GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1")}},
	{"connection options", 200, []string{withHost("GET / HTTP/1.1", strings.Repeat("Connection: x-a\r\n", 4)+"Connection: close")}},
	{"too many connection options", 400, []string{
		withHost("GET / HTTP/1.1", strings.Repeat("Connection: x-a\r\n", 4)+"Connection: x-a"),
		withHost("GET / HTTP/1.1", "Connection: "+strings.Repeat("a,", 256)+"b"),
	}},
	{"too much X-Forwarded-For", 400, []string{withHost("GET / HTTP/1.1", strings.Repeat("X-Forwarded-For: 192.0.2.1\r\n", 8)+"X-Forwarded-For: 192.0.2.1")}},
}

// TestGuard has each request answered on its own connection. Those that are refused end it, and not
// a byte of them comes to the backend.
func TestGuard(t *testing.T) {
	url, seen := startCountingBackend(t)
	_, address := startProxy(t, testOptions(url))
	status(t, address, get("/"))
	plain := seen.Load() // the bytes of one valid request
	for _, test := range guardCases {
		t.Run(test.name, func(t *testing.T) {
			start := seen.Load()
			for _, request := range test.request {
				before := seen.Load()
				if got := status(t, address, request); got != test.want {
					t.Errorf("%.200q: got %d, want %d", request, got, test.want)
				}
				if reached, want := seen.Load() > before, test.want == 200; reached != want {
					t.Errorf("%.200q: reached the backend: %v, want %v", request, reached, want)
				}
			}
			if test.want != 200 { // what is under way to the backend comes before this
				status(t, address, get("/"))
				if n := seen.Load() - start; n != plain {
					t.Errorf("%d bytes came to the backend, want the %d of the request behind those refused", n, plain)
				}
			}
		})
	}
}

func TestMaxBodySize(t *testing.T) {
	url, seen := startCountingBackend(t)
	o := testOptions(url)
	o.Server.MaxBodySize = 10
	_, address := startProxy(t, o)
	for request, want := range map[string]int{
		withHost("POST / HTTP/1.1", "Content-Length: 10") + "0123456789":                  200,
		withHost("POST / HTTP/1.1", "Content-Length: 11") + "0123456789a":                 413,
		withHost("POST / HTTP/1.1", "Content-Length: 999999999999999999"):                 413,
		withHost("POST / HTTP/1.1", "Content-Length: 11", "Expect: 100-continue"):         413,
		withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "1\r\na\r\n0\r\n\r\n": 200,
	} {
		before := seen.Load()
		if got := status(t, address, request); got != want {
			t.Errorf("%q: got %d, want %d", request, got, want)
		}
		if reached := seen.Load() > before; reached != (want == 200) {
			t.Errorf("%q: reached the backend: %v", request, reached)
		}
	}
}

// A slow client is served, whatever its request looks like at any time.
func TestSlowRequestLines(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Content-Length: 0")))))
	for _, line := range []string{
		"GET / HTTP/1.1", "GET / HTTP/1.0", "\r\nGET //a?b HTTP/1.1", "get http://example.com:80?a HTTP/1.1", "OPTIONS * HTTP/1.1",
		strings.Repeat("A", message.MaxMethod) + " / HTTP/1.1", "!#$%&'*+-.^_`|~ /!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~ HTTP/1.1",
	} {
		w := newWire(t, address)
		for range 2 { // the second on a connection that has served
			for _, c := range []byte(withHost(line, "Connection: keep-alive")) {
				w.send(string(c))
			}
			if got := w.receive("GET"); got.StatusCode != 200 {
				t.Errorf("%q: got %d", line, got.StatusCode)
			}
		}
	}
	w := newWire(t, address)
	for _, c := range []byte(lines("CONNECT a:443 HTTP/1.1", "Host: a:443")) {
		w.send(string(c))
	}
	if got := w.receive("GET"); got.StatusCode != 405 {
		t.Errorf("CONNECT: got %d, want 405", got.StatusCode)
	}
}
