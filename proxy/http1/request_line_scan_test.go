package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
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
	_, address := startRefusing(t, Options{Bounds: Bounds{ReadHeaderTimeout: time.Hour}})
	refused := func(name string, pieces ...string) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		for _, p := range pieces {
			if _, err := io.WriteString(conn, p); err != nil {
				t.Fatalf("%s in %d pieces: %v", name, len(pieces), err)
			}
		}
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || got.StatusCode != 400 || !got.Close {
			t.Fatalf("%s in %d pieces: got %v, %v", name, len(pieces), got, err)
		}
	}
	for _, test := range noRequests {
		refused(test.name, test.bytes)
		refused(test.name, strings.Split(test.bytes, "")...)
	}
	for name, hello := range map[string]string{
		"a whole ClientHello":  "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + string(randomBytes(239)),
		"a whole SSH banner":   "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
		"a whole RDP request":  "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
		"a whole PROXY header": proxyV1,
		"one of version 2":     proxyV2(proxied, tcp4, v4Block),
	} {
		refused(name, hello)
	}
}
