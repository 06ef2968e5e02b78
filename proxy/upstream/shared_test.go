package upstream

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/reason"
)

// sharedServer serves HTTP/2 in the clear, and counts its connections.
type sharedServer struct {
	net.Listener
	url      string
	accepted atomic.Int64
	late     time.Duration // before each connection is accepted
}

func (s *sharedServer) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err == nil {
		s.accepted.Add(1)
		time.Sleep(s.late)
	}
	return conn, err
}

func startShared(t *testing.T, most int, late time.Duration) *sharedServer {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	s := &sharedServer{Listener: server.Listener, late: late}
	server.Listener = s
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: most}
	server.Start()
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// newShared makes a pool of one backend of HTTP/2, and returns the backend.
func newShared(t *testing.T, url string, maxConnections int) *Backend {
	t.Helper()
	c := DefaultPoolConfig()
	c.Backends = []BackendConfig{{URL: mustURL(strings.Replace(url, "http:", "h2c:", 1)), Weight: 1, MaxConnections: maxConnections}}
	p := NewPool("main", c, zerolog.Nop())
	t.Cleanup(p.Retire)
	return p.all()[0]
}

// takeAtOnce takes so many places at once, and returns those that it got and how many failed.
func takeAtOnce(b *Backend, n int) (taken []*Conn, failed map[reason.Code]int) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	failed = map[reason.Code]int{}
	for range n {
		wait.Go(func() {
			c, err := b.Connect(time.Now(), false)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[ConnectReason(err)]++
			} else {
				taken = append(taken, c)
			}
		})
	}
	wait.Wait()
	return taken, failed
}

// TestSharedPlaces takes places at once: few connections are made, and no more than allowed.
func TestSharedPlaces(t *testing.T) {
	for _, test := range []struct {
		name                         string
		streams, connections, asked  int
		want, wantFull, wantAccepted int
	}{
		{"one dial for many", 100, 0, 80, 80, 0, 1},
		{"more than are promised", 5, 0, 23, 23, 0, 5},
		{"as many as may be", 5, 2, 23, 10, 13, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startShared(t, test.streams, 20*time.Millisecond)
			b := newShared(t, s.url, test.connections)
			taken, failed := takeAtOnce(b, test.asked)
			if len(taken) != test.want || failed[reason.Overloaded] != test.wantFull || s.accepted.Load() != int64(test.wantAccepted) {
				t.Errorf("%d taken, %v failed, %d connections, want %d, %d, %d", len(taken), failed, s.accepted.Load(), test.want, test.wantFull, test.wantAccepted)
			}
			if full := b.full(); full != (test.connections > 0) {
				t.Errorf("full: %v", full)
			}
			for _, c := range taken {
				c.Release(0)
				c.Discard()
			}
			if b.full() {
				t.Error("full after all places were given back")
			}
			b.conns.retire()
			for end := time.Now().Add(5 * time.Second); b.conns.slots.taken.Load() != 0 || len(b.conns.shared.all()) != 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d slots are taken, %d connections are open", b.conns.slots.taken.Load(), len(b.conns.shared.all()))
				}
			}
		})
	}
}

// TestSharedRoomWhileADialEnds asks for room, and for a place, while the places that a dial has promised
// become those of a connection: they are neither in between, and the backend is not full.
func TestSharedRoomWhileADialEnds(t *testing.T) {
	b := newShared(t, startShared(t, 5, 0).url, 1)
	taken, failed := takeAtOnce(b, 1)
	if len(taken) != 1 {
		t.Fatalf("%v failed", failed)
	}
	s := b.conns.shared
	between := func(ask func()) {
		s.mu.Lock()
		open, done := s.open.Swap(nil), make(chan struct{})
		go func() { ask(); close(done) }()
		time.Sleep(20 * time.Millisecond) // for the answer that it must not give
		s.open.Store(open)
		s.mu.Unlock()
		<-done
	}
	between(func() {
		if b.full() {
			t.Error("full beside a connection with room")
		}
	})
	between(func() {
		c, err := s.take()
		if err != nil {
			t.Errorf("beside a connection with room: %v", err)
			return
		}
		taken = append(taken, c)
	})
	for _, c := range taken {
		c.Release(0)
		c.Discard()
	}
}

// TestSharedDialFails has all that wait for a dial fail with it, and its slot free again.
func TestSharedDialFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			accepted.Add(1)
			time.Sleep(20 * time.Millisecond)
			_ = conn.Close()
		}
	}()
	b := newShared(t, "http://"+ln.Addr().String(), 1)
	taken, failed := takeAtOnce(b, 20)
	if len(taken) > 0 || failed[reason.ConnectFailed] != 20 || accepted.Load() > 2 {
		t.Errorf("%d taken, %v failed after %d dials", len(taken), failed, accepted.Load())
	}
	if n := b.conns.slots.taken.Load(); n != 0 || b.conns.shared.coming.Load() != 0 || b.full() {
		t.Errorf("%d slots are taken, %d places are to come", n, b.conns.shared.coming.Load())
	}
}
