package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSilenceIsBounded covers the timeouts that end a connection without an answer; those with one
// are in TestFailures.
func TestSilenceIsBounded(t *testing.T) {
	const limit = 60 * time.Millisecond
	for _, test := range []struct {
		name     string
		response string // then silence; "" for a whole one
		change   func(*ServerConfig)
		reason   string
	}{
		{"idle", "", func(c *ServerConfig) { c.IdleTimeout = limit }, ""},
		{"response body", "Content-Length: 100\r\n\r\nhalf", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
		{"response in chunks", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
		{"response until close", "\r\nhalf", func(c *ServerConfig) { c.BodyTimeout = limit }, "backend_aborted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			response := "HTTP/1.1 200 OK\r\n" + test.response
			if test.response == "" {
				response += "Content-Length: 4\r\n\r\nhalf"
			}
			o := testOptions(startRawBackend(t, answerAll(response)))
			test.change(&o.Server)
			p, address := startProxy(t, o)
			w := newWire(t, address)
			start := time.Now()
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			all, _ := io.ReadAll(w.in)
			if !strings.Contains(string(all), "half") || strings.HasSuffix(string(all), lastChunk) {
				t.Errorf("got %q, want half a body", all)
			}
			if took := time.Since(start); took < limit || took > limit+2*time.Second {
				t.Errorf("the connection ended after %s, want about %s", took, limit)
			}
			if test.reason != "" {
				eventually(t, "lb_errors_total", func() bool { return errorsWith(p, test.reason) == "1" })
			}
		})
	}
}

// TestClientThatDoesNotRead is cut off, and the backend's connection with it.
func TestClientThatDoesNotRead(t *testing.T) {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, zeros{})
	}))
	o.Server.BodyTimeout = 60 * time.Millisecond
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the client to be cut off", func() bool { return errorsWith(p, "client_gone") == "1" })
}

// TestSlowAndSteady sends bodies both ways that take longer than every timeout, but are never
// silent for so long.
func TestSlowAndSteady(t *testing.T) {
	const limit, pause, pieces = 300 * time.Millisecond, 30 * time.Millisecond, 15
	piece := strings.Repeat("p", 1000)
	trickle := func(w io.Writer, format string) {
		for range pieces {
			time.Sleep(pause) // the pace is what is tested
			fmt.Fprintf(w, format, piece)
		}
	}
	for _, test := range []struct{ name, fields, format, end string }{
		{"Content-Length", fmt.Sprintf("Content-Length: %d\r\n\r\n", pieces*len(piece)), "%s", ""},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n", "3e8\r\n%s\r\n", lastChunk},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					if _, body, err := readRequest(in); err != nil || len(body) != pieces*len(piece) {
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+test.fields)
					trickle(conn, test.format)
					_, _ = io.WriteString(conn, test.end)
				}
			}))
			shortTimeouts(&o)
			pool := o.Pools["main"]
			pool.Timeouts.ResponseHeader = limit
			o.Pools["main"] = pool
			o.Server.BodyTimeout, o.Server.ReadHeaderTimeout, o.Server.IdleTimeout = limit, limit, limit
			_, address := startProxy(t, o)
			w := newWire(t, address)
			for range 2 { // the second finds deadlines that the first has left
				w.send("POST / HTTP/1.1\r\nHost: h\r\n" + test.fields)
				trickle(w, test.format)
				w.send(test.end)
				if got := w.receive("POST"); got.StatusCode != 200 || string(got.body) != strings.Repeat(piece, pieces) {
					t.Fatalf("got %d and %d bytes", got.StatusCode, len(got.body))
				}
			}
		})
	}
}

// TestSlowBodyHoldsNoBackend has a client wait in its small body, while another one wants the only
// connection that the backend may have.
func TestSlowBodyHoldsNoBackend(t *testing.T) {
	o := testOptions(startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	pool := o.Pools["main"]
	pool.Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	slow := newWire(t, address)
	slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
	eventually(t, "the slow request", func() bool { return requestsUnderWay(p) == 1 })
	other := newWire(t, address)
	other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := other.receive("GET"); got.StatusCode != 200 {
		t.Errorf("the other client got %d", got.StatusCode)
	}
	other.Close()
	slow.send("hello")
	if got := slow.receive("POST"); got.StatusCode != 200 {
		t.Errorf("the slow client got %d", got.StatusCode)
	}
}

// TestTimeouts runs out each of them and measures when: not before its time, and for those that
// roll at most an eighth later. It sends what is long enough to be dripped, so that a timeout that
// only bounded silence would never be reached.
func TestTimeouts(t *testing.T) {
	const limit, late, other = 200 * time.Millisecond, 700 * time.Millisecond, 20 * time.Second
	long := strings.Repeat("x", 2000)
	slowHeader := func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			drip(conn, limit/40, "HTTP/1.1 200 OK\r\nX: "+long)
		}
	}
	interim := func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			drip(conn, limit/200, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100))
		}
	}
	for _, test := range []struct {
		name    string
		change  func(*Options)
		request string
		dripped string         // after the request
		backend func(net.Conn) // nil: reads and is silent
		status  int
		reason  string
	}{
		{"header that is dripped", func(o *Options) { o.Server.ReadHeaderTimeout = limit }, "G", "ET /" + long, nil, 408, "request_timeout"},
		{"header behind an empty line", func(o *Options) { o.Server.ReadHeaderTimeout = limit }, "\r\nG", "ET /" + long, nil, 408, "request_timeout"},
		{"small body", func(o *Options) { o.Server.BodyTimeout = limit }, withHost("POST / HTTP/1.1", "Content-Length: 9") + "hello", "", nil, 408, "request_timeout"},
		{"large body", func(o *Options) { o.Server.BodyTimeout = limit }, withHost("POST / HTTP/1.1", "Content-Length: 99999") + "hello", "", nil, 408, "request_timeout"},
		{"chunked body", func(o *Options) { o.Server.BodyTimeout = limit }, withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "5\r\nhello\r\n", "", nil, 408, "request_timeout"},
		{"body after 100 Continue", func(o *Options) { o.Server.BodyTimeout = limit }, withHost("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Expect: 100-continue"), "", nil, 408, "request_timeout"},
		{"response header", func(o *Options) { setResponseHeader(o, limit) }, withHost("GET / HTTP/1.1"), "", nil, 504, "response_timeout"},
		{"response header that is dripped", func(o *Options) { setResponseHeader(o, limit) }, withHost("GET / HTTP/1.1"), "", slowHeader, 504, "response_timeout"},
		{"interim responses without end", func(o *Options) { setResponseHeader(o, limit) }, withHost("GET / HTTP/1.1"), "", interim, 504, "response_timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.backend == nil {
				test.backend = func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
			}
			o := testOptions(startRawBackend(t, test.backend))
			o.Server.ReadHeaderTimeout, o.Server.BodyTimeout, o.Server.IdleTimeout = other, other, other
			test.change(&o)
			p, address := startProxy(t, o)
			w := newWire(t, address)
			start := time.Now()
			w.send(test.request)
			go drip(w, limit/40, test.dripped)
			got := w.receive("GET")
			if got.StatusCode == 100 {
				got = w.receive("GET")
			}
			took := time.Since(start)
			checkProblem(t, got, test.status, test.reason, "http://-:-")
			if took < limit || took > limit*9/8+late {
				t.Errorf("took %s, want %s to %s", took, limit, limit*9/8)
			}
			eventually(t, "lb_errors_total", func() bool { return errorsWith(p, test.reason) == "1" })
		})
	}
}

// TestIdleConnectionEndsInSilence checks that an idle connection ends without an answer, which the
// client could take for the answer to its next request. The header timeout does not run between
// requests; it does in the next header.
func TestIdleConnectionEndsInSilence(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	o := testOptions(startRawBackend(t, answerAll(ok)))
	o.Server.ReadHeaderTimeout, o.Server.IdleTimeout = 50*time.Millisecond, 300*time.Millisecond
	p, address := startProxy(t, o)
	idle, begun := newWire(t, address), newWire(t, address)
	for range 2 {
		idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		idle.receive("GET")
		time.Sleep(2 * o.Server.ReadHeaderTimeout) // the pause is what is tested
	}
	idle.mustEnd()
	mustHaveNoErrors(t, p)
	begun.Close()
	begun = newWire(t, address)
	begun.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT")
	begun.receive("GET")
	if got := begun.receive("GET"); got.StatusCode != 408 || !got.Close {
		t.Errorf("half a second header: got %d, close: %v", got.StatusCode, got.Close)
	}
	begun.mustEnd()
}

// TestIdleTimeBeginsBehindTheBody checks that the rest of a refused body may come long after the
// refusal, which goes out at once.
func TestIdleTimeBeginsBehindTheBody(t *testing.T) {
	o := testOptions("http://" + closedPort(t))
	o.Server.IdleTimeout = 200 * time.Millisecond
	_, address := startProxy(t, o)
	w := newWire(t, address)
	for range 2 {
		w.send(withHost("POST / HTTP/1.1", "Content-Length: 30000"))
		if got := w.receive("POST"); got.StatusCode != 502 || got.Close {
			t.Fatalf("got %d, close: %v", got.StatusCode, got.Close)
		}
		time.Sleep(2 * o.Server.IdleTimeout) // the pause is what is tested
		w.send(strings.Repeat("x", 30000))
		time.Sleep(o.Server.IdleTimeout / 4) // so is this
	}
}

// startFlood is a proxy before a backend that sends without end, and a client that has begun to
// read steadily.
func startFlood(t *testing.T) *Proxy {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, zeros{})
	}))
	o.Server.BodyTimeout = steadyTimeout
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(withHost("GET / HTTP/1.1"))
	if err := readSteadily(w.Conn); err != nil {
		t.Errorf("while the client reads: %v", err)
	}
	if n := errorsWith(p, "client_gone"); n != "0" {
		t.Error("the client counts as gone, and reads all the time")
	}
	return p
}

// TestSteadyReaderIsNotCut checks that the bound on silence does not end a download because it is
// slow. The client would not see it before it has read what the kernel holds.
func TestSteadyReaderIsNotCut(t *testing.T) {
	t.Parallel()
	startFlood(t)
}

// TestReaderThatStops is cut when its time is over, however long it has read before.
func TestReaderThatStops(t *testing.T) {
	t.Parallel()
	p := startFlood(t)
	start := time.Now()
	eventually(t, "the client to be cut off", func() bool { return errorsWith(p, "client_gone") == "1" })
	if took := time.Since(start); took > steadyTimeout*5/4+700*time.Millisecond {
		t.Errorf("it was cut off after %s, want at most %s", took, steadyTimeout*5/4)
	}
}

// TestSteadyBackendIsNotCut is the same for uploads.
func TestSteadyBackendIsNotCut(t *testing.T) {
	t.Parallel()
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if _, err := readRequestHeader(in); err == nil && readSteadily(in) == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread")
			_, _ = io.Copy(io.Discard, in)
		}
	}))
	o.Server.BodyTimeout = steadyTimeout
	_, address := startProxy(t, o)
	w := newWire(t, address)
	go func() {
		_, _ = io.WriteString(w, withHost("PUT / HTTP/1.1", "Content-Length: 1099511627776"))
		_, _ = io.Copy(w, zeros{})
	}()
	if got := w.receive("PUT"); got.StatusCode != 200 || string(got.body) != "read" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}

// TestBodiesOutliveTheHeaderTimeout checks that the header timeout bounds no body: fasthttp's
// ReadTimeout would end an upload, its WriteTimeout a download.
func TestBodiesOutliveTheHeaderTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	pieces := func(w io.Writer) {
		for range 6 {
			time.Sleep(timeout / 2) // the pace is what is tested
			_, _ = io.WriteString(w, "5\r\npiece\r\n")
		}
		_, _ = io.WriteString(w, lastChunk)
	}
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, _, err := readRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			pieces(conn)
		}
	}))
	o.Server.ReadHeaderTimeout, o.Server.IdleTimeout = timeout, timeout
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	pieces(w)
	if got := w.receive("POST"); got.StatusCode != 200 || len(got.body) != 30 {
		t.Errorf("got %d and %d bytes", got.StatusCode, len(got.body))
	}
}
