package management

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/upstream"
)

// newStatusServer returns a server whose balancer has this many backends, in pools of 100.
func newStatusServer(t testing.TB, backends int) *Server {
	t.Helper()
	pools := map[string]upstream.PoolConfig{}
	for i := range backends {
		name := fmt.Sprintf("pool-%d", i/100)
		c, known := pools[name]
		if !known {
			c = upstream.DefaultPoolConfig()
		}
		url, err := upstream.ParseURL(fmt.Sprintf("http://127.0.0.1:%d", 10000+i))
		if err != nil {
			t.Fatal(err)
		}
		c.Backends = append(c.Backends, upstream.BackendConfig{URL: url, Weight: 1})
		pools[name] = c
	}
	limits := limiter.New(limiter.DefaultConfig())
	p := proxy.New(proxy.Options{
		Server: proxy.DefaultServerConfig(), Pools: pools, LimitFields: limiter.DefaultConfig().Fields(),
		Logging: proxy.Logging{Access: proxy.AccessOff, Log: zerolog.Nop()},
	})
	reload := Reload{Last: func() LastReload { return LastReload{OK: true} }}
	return New(Parts{
		API:      NewAPI(Config{}, proxy.NewTrust(proxy.DefaultServerConfig()), nil, reload, nil, zerolog.Nop()),
		Balancer: p, Limits: limits, Reload: reload, TLS: listen.NewTLS(nil, zerolog.Nop()),
		Starting: func() error { return nil }, LogDropped: func() uint64 { return 0 }, Log: zerolog.Nop(),
	})
}

// serveStatus serves the status on a loopback address until the test ends.
func serveStatus(t *testing.T, m *Server) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.serve(ctx, newCallers(ln, silence)) }()
	t.Cleanup(func() {
		m.watch.stream.publish(nil) // the latest message goes
		m.watch.stream.end()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// openStream asks for a stream of the status, and reads the header of the response.
func openStream(t *testing.T, address string) (net.Conn, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET "+statusStreamPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, response
}

// open returns how many streams are open.
func (s *stream) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, of := range s.followers {
		n += of
	}
	return n
}

func awaitFollowers(t *testing.T, s *stream, want int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.open() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams are open, want %d", s.open(), want)
		}
	}
}

// TestStreamsAreBounded opens one stream more than is allowed, and again once one has ended.
func TestStreamsAreBounded(t *testing.T) {
	m := newStatusServer(t, 1)
	m.watch.stream.most = 2
	address := serveStatus(t, m)
	first, _ := openStream(t, address)
	openStream(t, address)
	awaitFollowers(t, &m.watch.stream, 2)
	if _, r := openStream(t, address); r.StatusCode != 503 || r.Header.Get("Content-Type") != "application/problem+json" || r.Header.Get("Retry-After") == "" {
		t.Errorf("the third got %d %v", r.StatusCode, r.Header)
	}
	_ = first.Close()
	for end := time.Now().Add(20 * time.Second); m.watch.stream.open() > 1; time.Sleep(time.Millisecond) {
		if m.watch.stream.publish([]byte("data: {}\n\n")); time.Now().After(end) {
			t.Fatal("a stream outlasts its client")
		}
	}
	if _, r := openStream(t, address); r.StatusCode != 200 {
		t.Errorf("once one has ended, got %d", r.StatusCode)
	}
}

// TestStreamsOfCallers: one caller that has as many streams as are allowed leaves room for another.
func TestStreamsOfCallers(t *testing.T) {
	s := newStream(2)
	for _, step := range []struct {
		caller string
		joins  bool
	}{{"reader", true}, {"reader", true}, {"reader", false}, {"writer", true}, {"writer", true}, {"writer", false}} {
		if s.isFull(step.caller) == step.joins {
			t.Errorf("%+v: is full: %v", step, !step.joins)
		}
		if _, ok := s.join(step.caller); ok != step.joins {
			t.Errorf("%+v: got %v", step, ok)
		}
	}
	for _, caller := range []string{"reader", "writer", "reader", "writer"} {
		if !s.isFollowed() {
			t.Error("it is not followed")
		}
		s.leave(caller)
	}
	if s.isFollowed() || len(s.followers) > 0 {
		t.Errorf("left by all, it has %v", s.followers)
	}
}

// TestSlowFollower has a client that reads nothing while messages come that no socket holds, beside
// one that reads all. The slow one gets the latest when it reads in time, and is cut off when it
// does not.
func TestSlowFollower(t *testing.T) {
	m := newStatusServer(t, 1)
	address := serveStatus(t, m)
	_, slow := openStream(t, address)
	_, quick := openStream(t, address)
	awaitFollowers(t, &m.watch.stream, 2)
	lines := bufio.NewReader(quick.Body)
	const last, size = 9, 5 << 20 // more than sockets hold of a client that does not read
	for i := range last + 1 {
		m.watch.stream.publish([]byte(fmt.Sprintf("data: %d %s\n\n", i, strings.Repeat("x", size))))
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, fmt.Sprintf("data: %d ", i)) {
				break
			}
		}
	}
	var got []string
	lines = bufio.NewReader(slow.Body)
	for len(got) == 0 || got[len(got)-1] != fmt.Sprintf("data: %d ", last) {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v, after %q", err, got)
		}
		if strings.Contains(line, "xxx") {
			got = append(got, line[:len("data: 1 ")])
		}
	}
	if len(got) > 5 {
		t.Errorf("the slow client got %q, of which it had not taken most", got)
	}
	m.watch.stream.publish([]byte("data: " + strings.Repeat("x", 2*size) + "\n\n"))
	go func() { _, _ = io.Copy(io.Discard, quick.Body) }() // ends with the connection
	awaitFollowers(t, &m.watch.stream, 1)                  // after silence
}

// BenchmarkSample measures what the history of 1,000 backends takes in 10 seconds.
func BenchmarkSample(b *testing.B) {
	m, now := newStatusServer(b, 1000), time.Now()
	for b.Loop() {
		for range 10 {
			now = now.Add(time.Second)
			m.sample(now)
		}
	}
}

// BenchmarkStatus measures what 1,000 backends take each second while the status is looked at.
func BenchmarkStatus(b *testing.B) {
	m := newStatusServer(b, 1000)
	m.sample(time.Now())
	for b.Loop() {
		if text := event(m.status(time.Now(), newest)); len(text) < 100_000 {
			b.Fatal("the status is too short")
		}
	}
}
