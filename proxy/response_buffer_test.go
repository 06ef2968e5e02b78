package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
)

// slowReader opens a connection whose client takes little at once, and whose balancer's end sends
// little at once.
func slowReader(t *testing.T, address string) *rawClient {
	t.Helper()
	w := newWire(t, address)
	if err := socketOf(w.Conn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	return w
}

// narrow accepts connections that send little at once.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = socketOf(conn).SetWriteBuffer(4 << 10)
	}
	return conn, err
}

// startNarrow starts a proxy whose connections send little at once.
func startNarrow(t *testing.T, o Options) (*Proxy, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startProxyOn(t, o, narrow{ln}), ln.Addr().String()
}

// TestResponseBuffer: a response is read ahead of a slow client, up to response_buffer, so that its
// backend is free; all arrives, and a client that may have one request at a time goes on.
func TestResponseBuffer(t *testing.T) {
	body := randomBytes(100 << 10)
	for _, test := range []struct {
		name            string
		buffer, buffers upstream.Size
		chunked         bool
		free            bool
	}{
		{"fits", 256 << 10, 1 << 20, false, true},
		{"fits, in chunks", 256 << 10, 1 << 20, true, true},
		{"does not fit", 16 << 10, 1 << 20, false, false},
		{"off", 0, 1 << 20, false, false},
		{"no memory left", 256 << 10, 256<<10 - 1, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			o := testOptions(startBackend(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				if !test.chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				_, _ = w.Write(body)
			}))
			o.Server.Buffers = test.buffers
			o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1})
			pool := o.Pools["main"]
			pool.ResponseBuffer = test.buffer
			o.Pools["main"] = pool
			p, address := startNarrow(t, o)
			inFlight := func() int64 { return p.pools.byName["main"].States()[0].InFlight }
			for round := range int64(2) { // the second finds what the first has given back
				w := slowReader(t, address)
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				eventually(t, "the request at the backend", func() bool { return asked.Load() > 2*round })
				if test.free {
					eventually(t, "the backend to be free while the client reads nothing", func() bool { return inFlight() == 0 })
				} else if time.Sleep(300 * time.Millisecond); inFlight() == 0 {
					t.Error("no request is in flight at the backend while the client reads nothing")
				}
				got := w.receive("GET")
				if !bytes.Equal(got.body, body) {
					t.Fatalf("got %d bytes, want %d", len(got.body), len(body))
				}
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the connection goes on
				if got := w.receive("GET"); !bytes.Equal(got.body, body) {
					t.Errorf("got %d bytes from the second, want %d", len(got.body), len(body))
				}
				_ = w.Close()
				waitIdle(t, p)
			}
		})
	}
}

// TestResponseBufferAndBrokenOnes: a slow client gets all that came of a response that breaks off,
// and then a reset; one that leaves or takes nothing is given up.
func TestResponseBufferAndBrokenOnes(t *testing.T) {
	shortTimeoutsOf := func(o *Options) { o.Server.BodyTimeout = 300 * time.Millisecond }
	const half = 50 << 10
	breaks := startRawBackend(t, func(conn net.Conn) {
		_, _ = readRequestHeader(bufio.NewReader(conn))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 2*half, bytes.Repeat([]byte("b"), half))
	})
	o := testOptions(breaks)
	p, address := startNarrow(t, o)
	w := slowReader(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	time.Sleep(200 * time.Millisecond)
	all, _ := io.ReadAll(w.in)
	if n := bytes.Count(all, []byte("b")); n < half {
		t.Errorf("got %d bytes of the %d that came", n, half)
	}
	eventually(t, "the reason", func() bool { return errorsWith(p, "backend_aborted") == "1" })

	o = testOptions(startBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(randomBytes(1 << 20)) }))
	shortTimeoutsOf(&o)
	p, address = startNarrow(t, o)
	takesNothing, leaves := slowReader(t, address), slowReader(t, address)
	for _, w := range []*rawClient{takesNothing, leaves} {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	}
	time.Sleep(100 * time.Millisecond)
	reset(leaves.Conn)
	eventually(t, "both to be given up", func() bool { return errorsWith(p, "client_gone") == "2" })
	waitIdle(t, p)
}
