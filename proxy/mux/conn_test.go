package mux

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/wire"
)

// startServer serves HTTP/2 in the clear until the test ends, with this many streams on a connection.
func startServer(t testing.TB, most int, h http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: most}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// open opens a connection that is kept for a time, and returns what has a value once it has ended.
func open(t testing.TB, address string, keep time.Duration) (*Conn, <-chan struct{}) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	over, ended := wire.Over(conn), make(chan struct{}, 1)
	c, err := Open(&over, time.Now().Add(5*time.Second), Options{Keep: keep, MaxHeader: 64 << 10, Ended: func(*Conn) { ended <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	return c, ended
}

var requestFields = []hpack.HeaderField{
	{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "a"},
}

// ask sends a request on a stream, and reads the response to its end.
func ask(s *Stream) (status int, body string, err error) {
	defer s.End()
	if _, err = s.Begin(requestFields, nil, true); err != nil {
		return 0, "", err
	}
	s.BoundRead(time.Now().Add(5 * time.Second))
	h, err := s.Header()
	for buf := make([]byte, 0, 1<<10); err == nil && !s.Ended(); {
		var b []byte
		b, err = s.Read(buf, 5*time.Second)
		body += string(b)
	}
	return h.Status, body, err
}

// TestConnEnds ends connections in each way that an owner can.
func TestConnEnds(t *testing.T) {
	address := startServer(t, 0, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	for name, test := range map[string]struct {
		keep time.Duration
		end  func(*Conn)
	}{
		"after a time without streams": {20 * time.Millisecond, func(*Conn) {}},
		"retired":                      {time.Minute, (*Conn).Retire},
	} {
		t.Run(name, func(t *testing.T) {
			c, ended := open(t, address, test.keep)
			s := c.Reserve()
			if status, body, err := ask(s); status != 200 || body != "hello" || err != nil {
				t.Fatalf("got %d, %q, %v", status, body, err)
			}
			test.end(c)
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Fatal("the connection lives on")
			}
			if c.Reserve() != nil || c.HasRoom() || !c.HasEnded() {
				t.Error("it takes streams all the same")
			}
		})
	}
}

// TestRetireWaits for the last stream.
func TestRetireWaits(t *testing.T) {
	release := make(chan struct{})
	address := startServer(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "hello")
	})
	c, ended := open(t, address, time.Minute)
	s := c.Reserve()
	c.Retire()
	if c.Reserve() != nil {
		t.Error("a retired connection takes a stream")
	}
	close(release)
	if status, body, err := ask(s); status != 200 || body != "hello" || err != nil {
		t.Errorf("got %d, %q, %v", status, body, err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the connection lives on")
	}
}

// TestStreamsAtOnce has many goroutines take places, of which there are few.
func TestStreamsAtOnce(t *testing.T) {
	const most = 5
	var now atomic.Int64
	address := startServer(t, most, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > most {
			t.Errorf("%d streams at once", n)
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
	})
	c, _ := open(t, address, time.Minute)
	defer c.Retire()
	var wait sync.WaitGroup
	var done atomic.Int64
	for range 20 {
		wait.Go(func() {
			for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
				s := c.Reserve()
				if s == nil {
					time.Sleep(100 * time.Microsecond)
					continue
				}
				if status, _, err := ask(s); status != 200 || err != nil {
					t.Errorf("got %d, %v", status, err)
					return
				}
				done.Add(1)
			}
		})
	}
	wait.Wait()
	if done.Load() == 0 || c.Places() != most {
		t.Errorf("%d requests, %d places", done.Load(), c.Places())
	}
}

// TestWaits ends a wait for a header in each way.
func TestWaits(t *testing.T) {
	release := make(chan struct{})
	address := startServer(t, 0, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c, ended := open(t, address, time.Minute)
	begin := func() *Stream {
		s := c.Reserve()
		if _, err := s.Begin(requestFields, nil, true); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, test := range map[string]struct {
		end  func(*Stream)
		want error
	}{
		"bound":    {func(s *Stream) { s.BoundRead(time.Now()) }, os.ErrDeadlineExceeded},
		"stopped":  {(*Stream).Stop, ErrStopped},
		"recalled": {func(s *Stream) { s.AllowRecall(); c.Recall() }, ErrRecalled},
	} {
		s := begin()
		time.AfterFunc(10*time.Millisecond, func() { test.end(s) })
		if _, err := s.Header(); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		s.End()
	}
	s := begin()
	c.Recall() // not allowed
	s.BoundRead(time.Now().Add(20 * time.Millisecond))
	if _, err := s.Header(); !wire.TimedOut(err) {
		t.Errorf("got %v, want the timeout", err)
	}
	s.End()
	c.Retire()
	<-ended
}

// TestOpenFails is for peers that do not speak HTTP/2.
func TestOpenFails(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		within time.Duration
		want   string
	}{
		"silent": {"", 100 * time.Millisecond, "did not begin HTTP/2 in time"},
		"HTTP/1": {"HTTP/1.1 400 Bad Request\r\n\r\n", 10 * time.Second, "does not speak HTTP/2"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				if conn, err := ln.Accept(); err == nil {
					_, _ = io.WriteString(conn, test.answer)
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			}()
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			over := wire.Over(conn)
			if _, err := Open(&over, time.Now().Add(test.within), Options{MaxHeader: 1 << 10}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
