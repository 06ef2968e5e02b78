package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// drip writes text one byte at a time, until an error or its end.
func drip(w io.Writer, pause time.Duration, text string) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(pause) // the pace is what is tested
	}
}

// TestTimeouts runs out each of them and measures when: not before its time, and
// for those that roll at most an eighth later. It sends what is long enough to be
// dripped, so that a timeout that only bounded silence would never be reached.
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

func setResponseHeader(o *Options, d time.Duration) {
	pool := o.Pools["main"]
	pool.Timeouts.ResponseHeader = d
	o.Pools["main"] = pool
}

// TestIdleConnectionEndsInSilence: the client may be about to send its next
// request, to which an answer would be taken. The timeout of the header does not
// count between requests; it does in the next header.
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

// TestIdleTimeBeginsBehindTheBody: a refusal goes out at once, and the rest of the
// body may come much later.
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

// TestClientThatStopsOnAnEarlyAnswer sends no more once the response has begun, as
// RFC 9112, section 9.5, wants it: the response goes on to its end.
func TestClientThatStopsOnAnEarlyAnswer(t *testing.T) {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n")
			drip(conn, 5*time.Millisecond, strings.Repeat("1\r\nx\r\n", 100)+"0\r\n\r\n")
		}
	}))
	o.Server.BodyTimeout = 150 * time.Millisecond
	p, address := startProxy(t, o)
	w := newWire(t, address)
	w.send(withHost("POST / HTTP/1.1", "Content-Length: 100000") + "hello")
	if a := w.receive("POST"); a.StatusCode != 413 || len(a.body) != 100 {
		t.Errorf("got %d with %d bytes", a.StatusCode, len(a.body))
	}
	w.mustEnd()
	for _, code := range []string{"request_timeout", "backend_aborted", "response_timeout"} {
		if n := errorsWith(p, code); n != "0" {
			t.Errorf("%s was counted %s times", code, n)
		}
	}
}
