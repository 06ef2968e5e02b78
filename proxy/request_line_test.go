package proxy

import (
	"strings"
	"testing"

	"loadbalancer/proxy/message"
)

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
