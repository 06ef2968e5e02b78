package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// ignoreFasthttp leaves out goroutines that fasthttp starts and never waits for: each ends by
// itself when it next wakes, up to a minute later, or never, and all they do is tell the time or
// look through pools that are empty.
func ignoreFasthttp(more ...goleak.Option) []goleak.Option {
	return append(more,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.startCoarseClock.func1"))
}

// TestShutdown has an idle connection, one on which nothing was ever sent, and a request under way
// when the end comes.
func TestShutdown(t *testing.T) {
	before := goleak.IgnoreCurrent()
	entered, release := make(chan bool), make(chan bool)
	backend := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- true
			<-release
		}
		_, _ = io.WriteString(w, "whole")
	})
	var log logLines
	o := testOptions(backend)
	o.Log = zerolog.New(&log)
	s := serve(t, o)
	if err := s.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	idle, unused, busy := newWire(t, s.address), newWire(t, s.address), newWire(t, s.address)
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.receive("GET")
	busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	eventually(t, "three connections", func() bool { return metric(s.Proxy, "lb_connections") == "3" })
	eventually(t, "one request", func() bool { return requestsUnderWay(s.Proxy) == 1 })
	s.stop()
	eventually(t, "new connections to be refused", func() bool {
		conn, err := connect(s.address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	eventually(t, "Ready to say no", func() bool { return s.Ready() != nil }) // the handshakes under way end first
	eventually(t, "the log lines", func() bool { return len(log.parsed(t)) == 2 })
	checkLine(t, log.parsed(t)[0], map[string]any{"message": "shutting down", "level": "info", "cause": "context canceled", "shutdown_delay": "0s"})
	checkLine(t, log.parsed(t)[1], map[string]any{"message": "draining", "level": "info", "requests": 1., "tunnels": 0., "shutdown_timeout": "5s"})
	release <- true
	if got := busy.receive("GET"); string(got.body) != "whole" || !got.Close {
		t.Errorf("the request under way got %q, close: %v", got.body, got.Close)
	}
	for _, w := range []*rawClient{idle, unused, busy} {
		w.mustEnd()
	}
	if err := s.ended(t, 2*time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
	requireMessages(t, &log, "shutting down", "draining")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// What is left is the backend's connection, which ended with Serve.
	goleak.VerifyNone(t, ignoreFasthttp(before,
		goleak.IgnoreAnyFunction("net/http.(*Server).Serve"),
		goleak.IgnoreAnyFunction("net/http/httptest.(*Server).goServe.func1"))...)
}

// TestShutdownOfAnIdleProxy is over in a moment.
func TestShutdownOfAnIdleProxy(t *testing.T) {
	s := serve(t, testOptions(startBackend(t, mirror)))
	w := newWire(t, s.address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.receive("GET")
	newWire(t, s.address)
	eventually(t, "two connections", func() bool { return metric(s.Proxy, "lb_connections") == "2" })
	s.stop()
	if err := s.ended(t, time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestShutdownWhileAClientSendsOn does not wait for a client that has its answer and sends the rest
// of its body all the same.
func TestShutdownWhileAClientSendsOn(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	o.Server.MaxBodySize = 1000
	s := serve(t, o)
	w := newWire(t, s.address)
	w.send(withHost("POST / HTTP/1.1", "Content-Length: 1099511627776"))
	w.receive("POST")
	over := make(chan bool)
	go func() {
		defer close(over)
		_ = sendSteadily(w, 1000, 20*time.Millisecond)
	}()
	s.stop()
	if err := s.ended(t, 3*time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
	w.Close()
	<-over
}

// atDraining is a log that calls a function when the drain begins.
type atDraining func()

func (f atDraining) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("draining")) {
		f()
	}
	return len(line), nil
}

// TestShutdownAnswersWhatIsOnItsWay sends requests on an idle connection and on one on which
// nothing was ever sent, once the listener is closed: both are answered, as the last.
func TestShutdownAnswersWhatIsOnItsWay(t *testing.T) {
	o := testOptions(startBackend(t, mirror))
	var idle, unused *rawClient
	o.Log = zerolog.New(atDraining(func() {
		idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		unused.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	}))
	s := serve(t, o)
	idle, unused = newWire(t, s.address), newWire(t, s.address)
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.receive("GET")
	eventually(t, "two connections", func() bool { return metric(s.Proxy, "lb_connections") == "2" })
	s.stop()
	for _, w := range []*rawClient{idle, unused} {
		if got := w.receive("GET"); got.StatusCode != 200 || !got.Close {
			t.Errorf("got %d, close: %v", got.StatusCode, got.Close)
		}
	}
	if err := s.ended(t, 2*time.Second); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestShutdownTimeout has requests that take too long: an error says how many, and their clients
// are cut off.
func TestShutdownTimeout(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	backend := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-release
	})
	o := testOptions(backend)
	o.Server.ShutdownTimeout = 50 * time.Millisecond
	var log logLines
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	s := serve(t, o)
	var waiting []*rawClient
	for range 3 {
		w := newWire(t, s.address)
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-entered
		waiting = append(waiting, w)
	}
	s.stop()
	err := s.ended(t, 2*cutGrace)
	if err == nil || !strings.Contains(err.Error(), "3 requests") {
		t.Errorf("Serve: %v, want an error that speaks of 3 requests", err)
	}
	for _, w := range waiting {
		w.mustEnd()
	}
	// Every request has its line by then.
	requireMessages(t, &log, "shutting down", "draining", "cut what was still running at the shutdown timeout", "request", "request", "request")
	for i, line := range log.parsed(t)[1:] {
		if i < 2 {
			checkLine(t, line, map[string]any{"requests": 3., "tunnels": 0., "shutdown_timeout": "50ms"})
		} else {
			checkLine(t, line, map[string]any{"status": 499., "reason": "client_gone", "level": "error", "cause": "cut at the end of server.shutdown_timeout", "duration_ms": interval{50, 5000}})
		}
	}
	close(release)
}

// TestShutdownWithinABody that ends with the connection: the client must not take the cut for that
// end.
func TestShutdownWithinABody(t *testing.T) {
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhalf")
		_, _ = io.Copy(io.Discard, conn)
	}))
	o.Server.BodyTimeout, o.Server.ShutdownTimeout = 300*time.Millisecond, 50*time.Millisecond
	var log logLines
	o.Access, o.Log = AccessAll, zerolog.New(&log)
	s := serve(t, o)
	w := newWire(t, s.address)
	w.send("GET / HTTP/1.0\r\n\r\n")
	if _, err := readRequestHeader(w.in); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := s.ended(t, 2*cutGrace); err == nil {
		t.Error("Serve does not tell that a request was cut")
	}
	if got, err := io.ReadAll(w.in); err == nil || isTimeout(err) {
		t.Errorf("the body ended with %q, %v, want an error", got, err)
	}
	eventually(t, "the request to end", func() bool { return metric(s.Proxy, "lb_connections") == "0" })
	requireMessages(t, &log, "shutting down", "draining", "cut what was still running at the shutdown timeout", "request")
	checkLine(t, log.parsed(t)[3], map[string]any{"status": 200., "level": "error"})
}

// TestServeTellsWhyItEnds covers a listener that fails.
func TestServeTellsWhyItEnds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	err = New(testOptions("http://"+closedPort(t))).Serve(context.Background(), Front{Listener: ln})
	if want := fmt.Sprint("accept connections on ", ln.Addr()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want it to begin with %q", err, want)
	}
}
