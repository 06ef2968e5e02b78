package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
)

// getOn sends a GET and reads the response.
func getOn(conn net.Conn) error {
	if _, err := io.WriteString(conn, withHost("GET / HTTP/1.1")); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// parked returns how many connections are parked.
func (s *Server) parked() (n int) {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	for _, c := range s.conns.conns {
		if c.parked.Load() {
			n++
		}
	}
	return n
}

// A connection that is parked is served again, closed in time, and makes place for another.
func TestPark(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux alone")
	}
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			s := startSecure(t, Options{}, nil)
			dial := func(s *secureServer) net.Conn {
				conn, err := tls.Dial("tcp", s.address, s.client(nil))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				return conn
			}
			if !secure {
				var address string
				s.Server, address = startRefusing(t, Options{Bounds: Bounds{ReadHeaderTimeout: time.Minute}})
				dial = func(*secureServer) net.Conn {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { conn.Close() })
					_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
					return conn
				}
			}
			first := dial(s)
			rounds := 3
			if !secure {
				rounds = 1
			}
			for range rounds {
				if err := getOn(first); err != nil {
					t.Fatal(err)
				}
				waitUntil(t, "the connection to be parked", func() bool { return s.parked() == 1 })
			}
			bounds := *s.bounds.Load()
			bounds.MaxConnections = 1
			s.SetBounds(bounds)
			second := dial(s)
			if err := getOn(second); err != nil {
				t.Errorf("a parked connection makes no place: %v", err)
			}
			if _, err := first.Read(make([]byte, 1)); err == nil {
				t.Error("the parked connection is open although it made place")
			}
			bounds.IdleTimeout = 2 * parkAfter
			s.SetBounds(bounds)
			began := time.Now()
			if err := getOn(second); err != nil {
				t.Fatal(err)
			}
			if _, err := second.Read(make([]byte, 1)); err != io.EOF || time.Since(began) < bounds.IdleTimeout {
				t.Errorf("after %s the parked connection got %v", time.Since(began), err)
			}
			waitUntil(t, "the connections to end", func() bool { return s.Connections() == 0 })
		})
	}
}

// A parked connection is closed when the server ends.
func TestDrainParked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := NewServer(Options{
		Bounds:        Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Minute},
		MaxHeaderSize: 16 << 10, Log: zerolog.Nop(),
		Proxied: func(netip.Addr) bool { return false },
		Handle: func(s ends.Stream) {
			refuse(s, s.Guard(testLimits)+reason.NoBackend)
			s.End()
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- serveAndDrain(ctx, s, Front{Listener: ln}) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := getOn(conn); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the connection to be parked", func() bool { return s.parked() == 1 })
	began := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the parked connection got %v", err)
	}
	waitUntil(t, "the connection to end", func() bool { return s.Connections() == 0 })
}

// hidden are connections without a file descriptor to look at, as all are on other systems than Linux.
type hidden struct{ net.Listener }

func (l hidden) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err
}

// startHidden is startRefusing with connections that cannot be parked.
func startHidden(t *testing.T, bounds Bounds) (s *Server, address string, end func() <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s = NewServer(Options{
		Bounds: bounds, MaxHeaderSize: 16 << 10, Log: zerolog.Nop(),
		Proxied: func(netip.Addr) bool { return false },
		Handle: func(s ends.Stream) {
			refuse(s, s.Guard(testLimits)+reason.NoBackend)
			s.End()
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- serveAndDrain(ctx, s, Front{Listener: hidden{ln}}) }()
	return s, ln.Addr().String(), func() <-chan error { cancel(); return ended }
}

// Where no connection can be parked, one is kept for the idle timeout as well.
func TestNotParked(t *testing.T) {
	_, address, end := startHidden(t, Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Minute})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := getOn(conn); err != nil {
		t.Fatal(err)
	}
	time.Sleep(parkInClear + parkInClear/4)
	if err := getOn(conn); err != nil {
		t.Errorf("after the time for which it would be served before it is parked: %v", err)
	}
	conn.Close()
	if err := <-end(); err != nil {
		t.Error(err)
	}
}

// The drain waits for a request on a connection that has just ceased to be parked.
func TestDrainReturned(t *testing.T) {
	s, _, end := startHidden(t, Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ShutdownTimeout: time.Minute})
	s.returned.Add(1)
	ended := end()
	select {
	case err := <-ended:
		t.Fatalf("the drain has ended before the request: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	s.returned.Add(-1)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
