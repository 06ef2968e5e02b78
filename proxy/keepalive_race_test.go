package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/wire"
)

// idleCloser is a backend that closes connections which were idle for a second,
// also when a request is there that it has not read yet.
type idleCloser struct {
	burst atomic.Pointer[burst]
	raced atomic.Int64 // requests that were there and not read
}

// burst lets its last requests be answered at one moment, so that all connections
// are closed at one moment too.
type burst struct {
	left  atomic.Int64
	ended chan struct{}
	close time.Time // when the connections are closed; set once ended is closed
}

func newBurst(clients int) *burst {
	b := &burst{ended: make(chan struct{})}
	b.left.Store(int64(clients))
	return b
}

const closesAfter = time.Second

func (c *idleCloser) serve(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		if _, err := in.Peek(1); err != nil {
			if timed := wire.Over(conn); isTimeout(err) && !timed.Quiet() {
				c.raced.Add(1)
			}
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		header, err := readRequestHeader(in)
		if err != nil {
			return
		}
		close := time.Now().Add(closesAfter)
		if strings.HasPrefix(header, "GET /last ") {
			close = c.burst.Load().wait()
		}
		_ = conn.SetReadDeadline(close)
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// wait returns when the last requests of all clients have come.
func (b *burst) wait() time.Time {
	if b.left.Add(-1) == 0 {
		b.close = time.Now().Add(closesAfter)
		close(b.ended)
	}
	<-b.ended
	return b.close
}

// TestNothingIsLostToIdleClose sends bursts of GETs that begin around the moment at
// which the backend closes all its connections.
func TestNothingIsLostToIdleClose(t *testing.T) {
	t.Parallel()
	const clients, each = 100, 20 // of a burst
	requests := 3 * clients * each
	if *long {
		requests = 100_000
	}
	c := &idleCloser{}
	_, address := startProxy(t, testOptions(startRawBackend(t, c.serve)))
	wires := make([]*rawClient, clients)
	for i := range wires {
		wires[i] = newWire(t, address)
	}
	var failed atomic.Int64
	begin, sent := time.Now(), 0
	for ; sent < requests || c.raced.Load() == 0 && sent < 5*requests; sent += clients * each {
		b := newBurst(clients)
		c.burst.Store(b)
		var all sync.WaitGroup
		for i, w := range wires {
			all.Go(func() {
				_ = w.SetDeadline(time.Now().Add(20 * time.Second))
				time.Sleep(time.Until(begin) + time.Duration(i-clients/2)*20*time.Microsecond) // the race is what is tested
				for n := range each {
					target := "/"
					if n == each-1 {
						target = "/last"
					}
					_, _ = fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target)
					if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
		begin = b.close
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, sent)
	}
	if c.raced.Load() == 0 {
		t.Error("no request met a connection that was just being closed")
	}
	t.Logf("%d requests, %d of them sent on a connection that was just being closed, %d failed", sent, c.raced.Load(), failed.Load())
}
