package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

// testOptions are options for one pool of these backends, without limits.
func testOptions(urls ...string) Options {
	pool := upstream.DefaultPoolConfig()
	pool.Backends = backendConfigs(urls...)
	server := DefaultServerConfig()
	server.ShutdownTimeout = 5 * time.Second
	return Options{
		Server:      server,
		Pools:       map[string]upstream.PoolConfig{"main": pool},
		LimitFields: limiter.DefaultConfig().Fields(),
		Access:      AccessOff,
		Log:         zerolog.Nop(),
	}
}

// backendConfigs returns the config of backends with these URLs, all of weight 1.
func backendConfigs(urls ...string) (all []upstream.BackendConfig) {
	for _, text := range urls {
		url, err := upstream.ParseURL(text)
		if err != nil {
			panic(err)
		}
		all = append(all, upstream.BackendConfig{URL: url, Weight: 1})
	}
	return all
}

// backendOf returns the backend with this address, which must take requests, of a pool.
func backendOf(t testing.TB, pool *upstream.Pool, address string) *upstream.Backend {
	t.Helper()
	var tried upstream.Tried
	for {
		switch b := pool.Pick(0, time.Now(), &tried); {
		case b == nil:
			t.Fatalf("pool %s has no backend %s", pool.Name(), address)
		case b.Name() == address:
			return b
		}
	}
}

// waitIdle waits until no request is in flight at any backend.
func waitIdle(t testing.TB, p *Proxy) {
	t.Helper()
	busy := regexp.MustCompile(`(?m)^lb_backend_in_flight\{.*\} [^0]`)
	eventually(t, "the backends' connections to be free", func() bool {
		var b bytes.Buffer
		p.WriteMetrics(&b)
		return !busy.Match(b.Bytes())
	})
}

// prefixes parses addresses and ranges, as in server.trusted_proxies.
func prefixes(texts ...string) []Prefix {
	all := make([]Prefix, len(texts))
	for i, text := range texts {
		if err := all[i].UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
	return all
}

// startProxy serves on a free port until the test ends, and returns the address.
func startProxy(t testing.TB, o Options) (*Proxy, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startProxyOn(t, o, ln), ln.Addr().String()
}

// startProxyOn is startProxy with a listener of the caller's.
func startProxyOn(t testing.TB, o Options, ln net.Listener) *Proxy {
	t.Helper()
	p := New(o)
	serveUntilEnd(t, p, ln)
	return p
}

// serveUntilEnd serves until the test ends.
func serveUntilEnd(t testing.TB, p *Proxy, ln net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// startBackend answers with an http.Handler until the test ends, and returns its URL.
func startBackend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// startRawBackend hands each connection to a function, and returns its URL. The
// connections end with the test.
func startRawBackend(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
	return "http://" + ln.Addr().String()
}

// startUnixBackend is startRawBackend over a unix socket, where what one side
// writes, or that it closes, is known to the other side at once. Over TCP it is
// mostly.
func startUnixBackend(t testing.TB, serve func(conn net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
	return "unix:" + path
}

func serveRaw(t testing.TB, ln net.Listener, serve func(conn net.Conn)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
}

// readRequestHeader reads up to the empty line.
func readRequestHeader(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// answerAll answers every request on a connection with the same bytes.
func answerAll(response string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := readRequestHeader(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	}
}

// talk sends bytes on a new connection and returns all that comes back until the
// proxy closes it.
func talk(t testing.TB, address, request string) string {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// limits makes a limiter with this default limit.
func limits(capacity int64, rate float64) *limiter.Limiter {
	c := limiter.DefaultConfig()
	c.Default.Limit = limiter.Limit{Capacity: capacity, RatePerSecond: rate}
	return limiter.New(c)
}

// ample is a limit that no test reaches.
var ample = limiter.Limit{Capacity: 1_000_000, RatePerSecond: 1_000_000}

// addressID is the client known by an IPv4 address.
func addressID(addr string) limiter.ID {
	return limiter.ID{Prefix: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

// loopback is the client that the tests are, as long as they say nothing else.
var loopback = addressID("127.0.0.1")

// limitsOf makes a limiter in which loopback has these terms.
func limitsOf(terms limiter.Terms) *limiter.Limiter {
	l := limiter.New(limiter.DefaultConfig())
	l.Set(limiter.Registration{ID: loopback, Terms: terms})
	return l
}

func get(path string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", path)
}

// What the tests know of package http1, in bytes or by number.
const (
	lastChunk          = "0\r\n\r\n"
	maxInterim         = 64       // interim responses to one request
	drainable          = 64 << 10 // of an unread body that a connection survives
	responseBufferSize = 16 << 10 // of the largest response header
	maxLine            = 4 << 10  // of a line of chunk framing
	maxExtension       = 256      // of one chunk's extensions
	maxExtensions      = 16 << 10 // of all of a body's

	cutGrace = wire.WatchAfter + 100*time.Millisecond // from a cut to the end of the requests
)

// chunkedUpTo makes a body of one-byte chunks whose extensions add up to the bytes given.
func chunkedUpTo(extensions int) string {
	var b strings.Builder
	for extensions > 0 {
		size := min(extensions, maxExtension)
		if extensions-size == 1 { // ";" alone is none
			size--
		}
		fmt.Fprintf(&b, "1;%s\r\na\r\n", strings.Repeat("x", size-1))
		extensions -= size
	}
	return b.String() + lastChunk
}

// section makes trailer lines of the bytes given in all, 5 or more.
func section(bytes int) string {
	var b strings.Builder
	for ; bytes > 2048; bytes -= 1024 {
		fmt.Fprintf(&b, "A:%s\r\n", strings.Repeat("b", 1024-4))
	}
	fmt.Fprintf(&b, "A:%s\r\n", strings.Repeat("b", bytes-4))
	return b.String()
}
