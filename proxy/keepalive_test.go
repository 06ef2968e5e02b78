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

func TestOldClients(t *testing.T) {
	const (
		fixed   = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
		chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
	)
	untilClose := func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello")
	}
	for _, test := range []struct {
		name, request string
		backend       func(net.Conn)
		ends          bool
	}{
		{"plain", "GET / HTTP/1.0\r\n\r\n", answerAll(fixed), true},
		{"keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answerAll(fixed), false},
		{"chunked", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answerAll(chunked), true},
		{"until close", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", untilClose, true},
		{"expectation", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", answerAll(fixed), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, address := startProxy(t, testOptions(startRawBackend(t, test.backend)))
			w := newWire(t, address)
			w.send(test.request)
			got := w.receive("GET")
			if got.StatusCode != 200 || string(got.body) != "hello" || len(got.TransferEncoding) != 0 {
				t.Errorf("got %d %v %q, want hello, not in chunks", got.StatusCode, got.TransferEncoding, got.body)
			}
			if test.ends {
				w.mustEnd()
				return
			}
			if c := got.Header.Get("Connection"); c != "keep-alive" {
				t.Errorf("Connection: %q, want keep-alive", c)
			}
			w.send(test.request)
			w.receive("GET")
		})
	}
}

// TestConnectionOptions covers which connections a client may end: its own, never the one to the
// backend.
func TestConnectionOptions(t *testing.T) {
	for _, test := range []struct {
		fields string
		ends   bool
	}{
		{"", false},
		{"Connection: close\r\n", true},
		{"Connection: Close\r\n", true},
		{"Connection: x-foo, close\r\n", true},
		{"Connection: keep-alive\r\nConnection: close\r\n", true},
		{"Connection: x-closed\r\n", false},
	} {
		var dials atomic.Int32
		backend := startRawBackend(t, func(conn net.Conn) {
			dials.Add(1)
			answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(conn)
		})
		p, address := startProxy(t, testOptions(backend))
		for range 2 {
			w := newWire(t, address)
			w.send("GET / HTTP/1.1\r\nHost: h\r\n" + test.fields + "\r\n")
			got := w.receive("GET")
			if got.Close != test.ends {
				t.Errorf("%q: the response says close: %v, want %v", test.fields, got.Close, test.ends)
			}
			if test.ends {
				w.mustEnd()
			} else {
				w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				w.receive("GET")
			}
			w.Close()
			waitIdle(t, p)
		}
		if n := dials.Load(); n != 1 {
			t.Errorf("%q: %d connections to the backend, want 1", test.fields, n)
		}
	}
}

// A client of HTTP/1.0 that asks for it keeps its connection, and is told so.
func TestKeepAliveForHTTP10(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, answerAll(lines("HTTP/1.1 200 OK", "Content-Length: 2")+"ok"))))
	got := withoutIDs(t, 2, talk(t, address, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"))
	want := lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: keep-alive") + "ok" + lines("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + "ok"
	if got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// TestKeepAliveAfterChunkedUploads checks that a body sent in full does not cost the client its
// connection, nor the backend its own.
func TestKeepAliveAfterChunkedUploads(t *testing.T) {
	var dials atomic.Int32
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		dials.Add(1)
		in := bufio.NewReader(conn)
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})))
	w := newWire(t, address)
	for i := range 500 {
		w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		if got := w.receive("POST"); got.Close {
			t.Fatalf("the connection ends after %d requests", i+1)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections to the backend, want 1", n)
	}
}

// TestBackendThatCloses ends its own connection with each response, not that of the client.
func TestBackendThatCloses(t *testing.T) {
	var dials atomic.Int32
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		dials.Add(1)
		answerAll("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")(conn)
	})))
	w := newWire(t, address)
	for i := range int32(3) {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); got.Close || string(got.body) != "ok" {
			t.Errorf("got %q, close: %v", got.body, got.Close)
		}
		if n := dials.Load(); n != i+1 {
			t.Errorf("%d connections for %d requests", n, i+1)
		}
	}
}

// TestIdleConnections counts the connections that two requests to a backend need which are a moment
// apart.
func TestIdleConnections(t *testing.T) {
	for _, test := range []struct {
		name, response string
		idle           time.Duration
		want           int32
	}{
		{"kept", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", time.Minute, 1},
		{"kept, as the backend says", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\nContent-Length: 2\r\n\r\nok", time.Minute, 1},
		{"the backend is about to close it", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok", time.Minute, 2},
		{"timeouts.idle is over", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", time.Millisecond, 2},
		{"none is kept", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var dials, ended atomic.Int32
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				dials.Add(1)
				answerAll(test.response)(conn)
				ended.Add(1)
			}))
			pool := o.Pools["main"]
			pool.Timeouts.Idle = test.idle
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			w := newWire(t, address)
			for range 2 {
				w.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				if got := w.receive("POST"); got.StatusCode != 200 || got.Header.Get("Keep-Alive") != "" {
					t.Errorf("got %d, %v", got.StatusCode, got.Header)
				}
				time.Sleep(10 * time.Millisecond) // what the row of a millisecond tests
			}
			if n := dials.Load(); n != test.want {
				t.Errorf("%d connections, want %d", n, test.want)
			}
			if test.idle == 0 { // a backend that serves one connection at a time waits for that
				eventually(t, "the end of both connections", func() bool { return ended.Load() == 2 })
			}
		})
	}
}

// TestLastUsedConnectionIsUsedFirst checks that the other idle connections may age out of the pool.
func TestLastUsedConnectionIsUsedFirst(t *testing.T) {
	var dials atomic.Int32
	arrived, answer := make(chan int32), make(chan bool)
	p, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		number := dials.Add(1)
		for in := bufio.NewReader(conn); ; {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			arrived <- number
			<-answer
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})))
	clients := []*rawClient{newWire(t, address), newWire(t, address), newWire(t, address)}
	for _, w := range clients {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-arrived
	}
	for range clients {
		answer <- true
	}
	for _, w := range clients {
		w.receive("GET")
	}
	waitIdle(t, p)
	var first int32
	for i := range 10 {
		clients[i%3].send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		number := <-arrived
		answer <- true
		clients[i%3].receive("GET")
		waitIdle(t, p)
		if first == 0 {
			first = number
		}
		if number != first {
			t.Errorf("request %d came over connection %d, the one before over %d", i, number, first)
		}
	}
}

// TestServesOn has a backend write a second response as soon as another request comes on the
// connection, as one does that still has the rest of its answer to send. Where more than the answer
// may come, that connection serves no other request.
func TestServesOn(t *testing.T) {
	const head, request, old = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"
	interim := lines("HTTP/1.1 103 Early Hints", "Link: a")
	for _, test := range []struct {
		name, request, response string
		status                  int
		body                    string
		servesOn                bool
	}{
		{"GET", request, lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", 200, "ok", true},
		{"205 with a body", request, lines("HTTP/1.1 205 Reset Content", "Content-Length: 2") + "ok", 205, "ok", true},
		{"HEAD", head, lines("HTTP/1.1 200 OK", "Content-Length: 69"), 200, "", false},
		{"HEAD, length twice", head, lines("HTTP/1.1 200 OK", "Content-Length: 69", "Content-Length: 69"), 200, "", false},
		{"HEAD, keep-alive", head, lines("HTTP/1.1 200 OK", "Content-Length: 69", "Connection: keep-alive"), 200, "", false},
		{"HEAD, in chunks", head, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), 200, "", false},
		{"HEAD, no length", head, lines("HTTP/1.1 200 OK"), 200, "", false},
		{"HEAD, no length, HTTP/1.0", head, lines("HTTP/1.0 200 OK", "Connection: keep-alive"), 200, "", false},
		{"HEAD, no body", head, lines("HTTP/1.1 200 OK", "Content-Length: 0"), 200, "", true},
		{"HEAD, not found", head, lines("HTTP/1.1 404 Not Found", "Content-Length: 9"), 404, "", false},
		{"HEAD, 204", head, lines("HTTP/1.1 204 No Content"), 204, "", true},
		{"HEAD, 304", head, lines("HTTP/1.1 304 Not Modified"), 304, "", true},
		{"204", request, lines("HTTP/1.1 204 No Content"), 204, "", true},
		{"204, no body", request, lines("HTTP/1.1 204 No Content", "Content-Length: 0"), 204, "", true},
		{"204, length", request, lines("HTTP/1.1 204 No Content", "Content-Length: 69", "Connection: keep-alive"), 204, "", false},
		{"204, in chunks", request, lines("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), 204, "", false},
		{"304", request, lines("HTTP/1.1 304 Not Modified"), 304, "", true},
		{"304, no body", request, lines("HTTP/1.1 304 Not Modified", "Content-Length: 0"), 304, "", true},
		{"304, length", request, lines("HTTP/1.1 304 Not Modified", "Content-Length: 69"), 304, "", false},
		{"304, in chunks", request, lines("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked"), 304, "", false},
		{"304, length, client of HTTP/1.0", old, lines("HTTP/1.1 304 Not Modified", "Content-Length: 69"), 304, "", false},
		{"chunks of HTTP/1.0", request, lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked", "Connection: keep-alive") + "2\r\nok\r\n0\r\n\r\n", 200, "ok", false},
		{"close, then keep-alive", request, lines("HTTP/1.0 200 OK", "Content-Length: 2", "Connection: close", "Connection: keep-alive") + "ok", 200, "ok", false},
		{"interim response", request, interim + lines("HTTP/1.1 200 OK", "Content-Length: 2") + "ok", 200, "ok", true},
		{"interim response alone", request, interim, 504, "response_timeout", false},
		{"interim responses without end", request, strings.Repeat(interim, maxInterim+1), 502, "bad_response", false},
		{"interim response with a length", request, lines("HTTP/1.1 103 Early Hints", "Content-Length: 69"), 502, "bad_response", false},
		{"interim response in chunks", request, lines("HTTP/1.1 100 Continue", "Transfer-Encoding: chunked"), 502, "bad_response", false},
		{"a protocol not asked for", request, lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: a"), 502, "bad_response", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startHostile(t, test.response, false))
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = time.Second
			if test.status == 504 {
				pool.Timeouts.ResponseHeader = 50 * time.Millisecond
			}
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			w := newWire(t, address)
			w.send(test.request)
			method, _, _ := strings.Cut(test.request, " ")
			if got := w.receive(method); got.StatusCode != test.status || !strings.Contains(string(got.body), test.body) {
				t.Errorf("got %d %q, want %d %q", got.StatusCode, got.body, test.status, test.body)
			}
			want := "clean"
			if test.servesOn {
				want = "evil" // what any second request on that connection gets
			}
			other := newWire(t, address)
			other.send(get("/"))
			if got := other.receive("GET"); string(got.body) != want {
				t.Errorf("the next client got %d %q, want %q", got.StatusCode, got.body, want)
			}
		})
	}
}

// idleCloser is a backend that closes connections which were idle for a second, also when a request
// is there that it has not read yet.
type idleCloser struct {
	burst atomic.Pointer[burst]
	raced atomic.Int64 // requests that were there and not read
}

// burst lets its last requests be answered at one moment, so that all connections are closed at one
// moment too.
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
			if timed := wire.Over(socketOf(conn)); isTimeout(err) && !timed.Quiet() {
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

// TestNothingIsLostToIdleClose sends bursts of GETs that begin around the moment at which the
// backend closes all its connections.
func TestNothingIsLostToIdleClose(t *testing.T) {
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
