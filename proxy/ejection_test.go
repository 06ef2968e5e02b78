package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// ejectionOptions are those of a pool with these backends, whose clients are named by a trusted
// proxy, so that a test may be several.
func ejectionOptions(backends ...string) Options {
	o := testOptions(backends...)
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	return o
}

// requestOf is a request of the client with this address.
func requestOf(method, path, client string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, client)
}

// closesAfterRequest is a backend that accepts, reads and closes.
func closesAfterRequest(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)) }

// TestFailingBackendIsEjected: one that accepts connections and closes them, so that its checks
// pass, costs three requests that may not be repeated, and no more for a time.
func TestFailingBackendIsEjected(t *testing.T) {
	good := startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	bad := startRawBackend(t, closesAfterRequest)
	p, address := startProxy(t, ejectionOptions(good, bad))
	failed := 0
	for range 40 {
		if !strings.Contains(talk(t, address, requestOf("POST", "/", "192.0.2.1")), " 200 ") {
			failed++
		}
	}
	if failed != 3 {
		t.Errorf("%d of 40 requests failed, want 3", failed)
	}
	requireStates(t, p, "up", "ejected")
}

// TestClientThatBreaksABackend: a client whose requests all end in a failure has no backend ejected
// that serves another.
func TestClientThatBreaksABackend(t *testing.T) {
	backend := func(conn net.Conn) {
		head := make([]byte, 1<<10)
		n, _ := conn.Read(head)
		if !strings.Contains(string(head[:n]), " /crash ") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	}
	p, address := startProxy(t, ejectionOptions(startRawBackend(t, backend), startRawBackend(t, backend), startRawBackend(t, backend)))
	for range 3 {
		talk(t, address, requestOf("GET", "/", "192.0.2.1"))
	}
	for range 60 {
		talk(t, address, requestOf("POST", "/crash", "198.51.100.7"))
	}
	requireStates(t, p, "up", "up", "up")
	for range 9 { // several clients meet the same: it is not theirs
		talk(t, address, requestOf("POST", "/crash", "203.0.113.1"))
		talk(t, address, requestOf("POST", "/crash", "198.51.100.7"))
	}
	out := 0
	for _, s := range p.pools.byName["main"].States() {
		if s.State == "ejected" {
			out++
		}
	}
	if out != 1 { // half of three, rounded down
		t.Errorf("%d of 3 backends are ejected, want 1", out)
	}
}

// requireStates checks the states of the pool's backends.
func requireStates(t *testing.T, p *Proxy, want ...string) {
	t.Helper()
	time.Sleep(10 * time.Millisecond) // an attempt ends after its response
	for i, s := range p.pools.byName["main"].States() {
		if s.State != want[i] {
			t.Errorf("%s is %s, want %s", s.Backend, s.State, want[i])
		}
	}
}
