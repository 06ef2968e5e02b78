package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestUnixSockets has clients and backends talk over unix sockets: small and large bodies,
// connections that are kept, and clients that count as 127.0.0.1.
func TestUnixSockets(t *testing.T) {
	var dials atomic.Int32
	forwarded := make(chan string, 16)
	backend := startUnixBackend(t, func(conn net.Conn) {
		dials.Add(1)
		for in := bufio.NewReader(conn); ; {
			r, body, err := readRequest(in)
			if err != nil {
				return
			}
			forwarded <- strings.Join(r.Header["X-Forwarded-For"], ";") + " " + r.Host
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	o := testOptions(backend)
	o.Limiter = limits(4, 0.001)
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "lb"))
	if err != nil {
		t.Fatal(err)
	}
	p := startProxyOn(t, o, ln)
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	w := &rawClient{t, conn, bufio.NewReader(conn)}
	large := randomBytes(3 << 20)
	for _, test := range []struct {
		fields, framed string
		body           []byte
		want           string // what the backend hears of the client
	}{
		{"Host: h\r\n", "\r\n", nil, "127.0.0.1 h"},
		{"Host: h\r\n", "Content-Length: 5\r\n\r\nhello", []byte("hello"), "127.0.0.1 h"},
		{"Host: h\r\n", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large), large, "127.0.0.1 h"},
		{"Host: h\r\n", "Transfer-Encoding: chunked\r\n\r\n" + inChunks(large), large, "127.0.0.1 h"},
		{"Host: h\r\nX-Forwarded-For: 192.0.2.1\r\n", "\r\n", nil, "192.0.2.1, 127.0.0.1 h"}, // a client with a bucket of its own
	} {
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(w, "POST / HTTP/1.1\r\n"+test.fields+test.framed)
			sent <- err
		}()
		if got := w.receive("POST"); got.StatusCode != 200 || got.Close || !bytes.Equal(got.body, test.body) {
			t.Fatalf("%.60q: got %d, %d bytes, close: %v", test.framed, got.StatusCode, len(got.body), got.Close)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if got := <-forwarded; got != test.want {
			t.Errorf("%.60q: the backend saw %q, want %q", test.framed, got, test.want)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections to the backend, want 1", n)
	}
	if up := metric(p, fmt.Sprintf("lb_backend_up{pool=\"main\",backend=%q}", strings.TrimPrefix(backend, "unix:"))); up != "1" {
		t.Errorf("lb_backend_up is %q under the socket's path", up)
	}
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := w.receive("GET"); got.StatusCode != 429 { // 127.0.0.1 has had its four
		t.Errorf("got %d, want 429", got.StatusCode)
	}
	w.send("GET / HTTP/1.0\r\n\r\n")
	if got := w.receive("GET"); got.StatusCode != 429 || !got.Close {
		t.Errorf("HTTP/1.0: got %d, close: %v", got.StatusCode, got.Close)
	}
	w.mustEnd()
}
