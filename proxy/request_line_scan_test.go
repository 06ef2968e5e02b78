package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/message"
)

// noRequests are beginnings that no continuation makes a request. Each is refused at its last byte.
var noRequests = []struct{ name, bytes string }{
	{"TLS", "\x16"},
	{"RDP", "\x03"},
	{"PostgreSQL", "\x00"},
	{"SSH", "SSH-2.0-OpenSSH_9.2p1\r"},
	{"SSH with a comment", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r"},
	{"PROXY of version 1", "PROXY TCP4 1"},
	{"PROXY of version 1 that tells nothing", "PROXY UNKNOWN\r"},
	{"PROXY of version 2", "\r\n\r\n\x00"},
	{"SMTP", "EHLO a\r"},
	{"Redis", "*1\r"},
	{"RTSP", "OPTIONS rtsp://a/b R"},
	{"HTTP/2", "PRI * HTTP/2"},
	{"HTTP/0.9", "GET /\r"},
	{"HTTP/1.2", "GET / HTTP/1.2"},
	{"HTTP/1.10", "GET / HTTP/1.10"},
	{"http/1.1", "GET / h"},
	{"no space", "GET\r"},
	{"a space first", " "},
	{"two spaces", "GET  "},
	{"a tab for a space", "GET\t"},
	{"a space behind the version", "GET / HTTP/1.1 "},
	{"CR before another byte", "GET / HTTP/1.1\rX"},
	{"bare LF behind the version", "GET / HTTP/1.1\n"},
	{"bare LF behind the method", "GET\n"},
	{"bare LF behind the target", "GET /\n"},
	{"CR first", "\rG"},
	{"empty lines and CR", "\r\n\r\rG"},
	{"LF first", "\nG"},
	{"a method that is no token", "G("},
	{"a NUL in the target", "GET /\x00"},
	{"DEL in the target", "GET /\x7f"},
	{"a byte above 0x7f in the target", "GET /\xc3"},
	{"a fragment", "GET /#"},
	{"a method without end", strings.Repeat("A", message.MaxMethod+1)},
}

func TestNoRequests(t *testing.T) {
	for _, test := range noRequests {
		for _, before := range []string{"", "\r\n"} {
			bytes := before + test.bytes
			var whole, slow headerScan
			if whole.end([]byte(bytes)); whole.fault() == nil {
				t.Errorf("%s: %q at once is not refused", test.name, bytes)
			}
			for i := range len(bytes) {
				if slow.end([]byte{bytes[i]}); (slow.fault() != nil) != (i == len(bytes)-1) {
					t.Errorf("%s: %q byte by byte: refused %v at byte %d of %d", test.name, bytes, slow.fault() != nil, i+1, len(bytes))
				}
			}
		}
	}
}

// TestNoRequestsAreAnsweredAtOnce has a server that waits for the rest of a header longer than the
// test does.
func TestNoRequestsAreAnsweredAtOnce(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.ReadHeaderTimeout = time.Hour
	p, address := startProxy(t, o)
	answered := 0
	expect := func(name string, w *rawClient) {
		t.Helper()
		if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 400 || !got.Close {
			t.Fatalf("%s: got %v, %v", name, got, err)
		}
		_ = w.Close()
		answered++
	}
	for _, test := range noRequests {
		w := newWire(t, address)
		w.send(test.bytes)
		expect(test.name, w)
		w = newWire(t, address)
		for _, c := range []byte(test.bytes) {
			w.send(string(c))
		}
		expect(test.name+" byte by byte", w)
	}
	for name, hello := range map[string]string{
		"a whole ClientHello":  "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + string(randomBytes(239)),
		"a whole SSH banner":   "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
		"a whole RDP request":  "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
		"a whole PROXY header": proxyV1,
		"one of version 2":     proxyV2(proxied, tcp4, v4Block),
	} {
		w := newWire(t, address)
		w.send(hello)
		expect(name, w)
	}
	eventually(t, "all of them counted", func() bool { return errorsWith(p, "bad_request") == fmt.Sprint(answered) })
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
