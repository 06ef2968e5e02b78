package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// customer is a client of TestOverload, behind a trusted proxy.
type customer struct {
	addr  string
	limit limiter.Limit
	pace  float64 // requests per second, after the first ones, which use up the capacity

	sent, passed int
	took         time.Duration
}

// TestOverload has twenty clients with different limits, most of which want three times what they
// may have. What reaches the backend, by its own log, is what each was sold.
func TestOverload(t *testing.T) {
	run := 3 * time.Second
	if *long {
		run = 30 * time.Second
	}
	var mu sync.Mutex
	logged := map[string]int{}
	o := testOptions(startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		client, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
		mu.Lock()
		defer mu.Unlock()
		logged[client]++
	}))
	o.Limiter = limits(1, 0.001)
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	_, address := startProxy(t, o)

	var customers [20]customer
	var all sync.WaitGroup
	for i := range customers {
		c := &customers[i]
		c.addr = fmt.Sprintf("192.0.2.%d", i)
		c.limit = limiter.Limit{Capacity: int64(200 + 10*i), RatePerSecond: float64(10 + 2*i)}
		c.pace = 3 * c.limit.RatePerSecond
		if i%5 == 4 {
			c.pace = c.limit.RatePerSecond / 2 // always within the limit
		}
		o.Limiter.Set(limiter.Registration{ID: addressID(c.addr), Terms: limiter.Terms{Limit: c.limit}})
		w := newWire(t, address)
		_ = w.SetDeadline(time.Now().Add(run + 30*time.Second))
		all.Go(func() { c.overload(t, w, run) })
	}
	all.Wait()
	for _, c := range customers {
		c.judge(t, logged[c.addr])
	}
	if len(logged) != len(customers) {
		t.Errorf("the backend has seen %d clients, want %d", len(logged), len(customers))
	}
}

// overload sends as many requests as the capacity at once, then more at the client's pace, and ends
// when the time is over and the bucket, if the client wants more than its limit, empty.
func (c *customer) overload(t *testing.T, w *rawClient, run time.Duration) {
	start := time.Now()
	for {
		next := c.sent + 1 - int(c.limit.Capacity) // of those at the client's pace
		if due := time.Duration(float64(next) / c.pace * 1e9); due > time.Since(start) {
			time.Sleep(due - time.Since(start))
		}
		w.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + c.addr + "\r\n\r\n")
		got, err := w.tryReceive("GET")
		if err != nil {
			t.Errorf("%s: %v", c.addr, err)
			return
		}
		c.sent++
		if got.StatusCode == http.StatusOK {
			c.passed++
		}
		c.took = time.Since(start)
		if c.took >= run && (c.pace < c.limit.RatePerSecond || got.StatusCode == http.StatusTooManyRequests) {
			return
		}
	}
}

// judge compares what the backend has logged with what the client may have.
func (c *customer) judge(t *testing.T, logged int) {
	t.Helper()
	entitled := float64(c.limit.Capacity) + c.limit.RatePerSecond*c.took.Seconds()
	want := min(float64(c.sent), entitled)
	t.Logf("%s, %d and %v/s: %d sent in %v, %d logged of %.1f wanted and allowed: %.2f %%",
		c.addr, c.limit.Capacity, c.limit.RatePerSecond, c.sent, c.took.Round(time.Millisecond), logged, want, 100*float64(logged)/want)
	if float64(logged) > entitled+1 || float64(logged) < 0.99*want {
		t.Errorf("%s: %d requests at the backend, want %.1f, at most one more, and no less than 99 %% of it", c.addr, logged, want)
	}
	if logged != c.passed {
		t.Errorf("%s: %d requests at the backend, but %d were answered 200", c.addr, logged, c.passed)
	}
	if c.pace < c.limit.RatePerSecond && c.passed != c.sent {
		t.Errorf("%s: %d of %d passed, though all are within the limit", c.addr, c.passed, c.sent)
	}
}

// TestBackendConnectionsAreBounded holds one request at the backend, which may have one connection.
func TestBackendConnectionsAreBounded(t *testing.T) {
	release, entered := make(chan bool), make(chan bool)
	o := testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			entered <- true
			<-release
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	o.Pools["main"].Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	checkProblem(t, second.receive("GET"), 503, "overloaded", "http://-:-")
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "overloaded") == "1" })
	release <- true
	first.receive("GET")
	waitIdle(t, p)
	second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	release <- true
	if got := second.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d when the connection is free again", got.StatusCode)
	}
}

// TestFullBackendsArePassedOver: of five backends the only one that is not full gets the request,
// although a request has three attempts.
func TestFullBackendsArePassedOver(t *testing.T) {
	entered, release := make(chan bool, 5), make(chan bool)
	var urls []string
	for range 5 {
		urls = append(urls, startHoldingBackend(t, entered, release))
	}
	o := testOptions(urls...)
	for i := range o.Pools["main"].Backends {
		o.Pools["main"].Backends[i].MaxConnections = 1
	}
	p, address := startProxy(t, o)
	var clients []*rawClient
	for range 5 {
		c := newWire(t, address)
		c.send(get("/"))
		clients = append(clients, c)
		<-entered
	}
	over := newWire(t, address)
	over.send(get("/"))
	checkProblem(t, over.receive("GET"), 503, "overloaded", "http://-:-")
	if n := metric(p, "lb_retries_total{pool=\"main\"}"); n != "0" {
		t.Errorf("full backends count as %s retries", n)
	}
	close(release)
	for _, c := range clients {
		if got := c.receive("GET"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
}

// TestClientConnectionsAreBounded: where a request is under way on each, none makes place for
// another.
func TestClientConnectionsAreBounded(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Server.MaxConnections = 2
	var log logLines
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	for _, w := range []*rawClient{first, second} {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-entered
	}
	third := newWire(t, address)
	checkProblem(t, third.receive("GET"), 503, "overloaded", "http://-:-")
	third.mustEnd()
	eventually(t, "lb_errors_total", func() bool { return errorsWith(p, "overloaded") == "1" })
	eventually(t, "the line of the access log", func() bool { return len(log.parsed(t)) == 1 })
	checkLine(t, log.parsed(t)[0], map[string]any{"client": "127.0.0.1", "address": "127.0.0.1", "status": 503., "reason": "overloaded",
		"level": "error", "method": nil, "path": nil, "pool": nil, "duration_ms": brief, "bytes_in": 0., "bytes_out": interval{200, 400}})
	release <- true
	first.receive("GET")
	fourth := third
	for served := false; !served; { // turned away until the first one's goroutine reads on
		away := errorsWith(p, "overloaded")
		fourth = newWire(t, address)
		fourth.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		eventually(t, "the fourth to be served or turned away", func() bool {
			select {
			case <-entered:
				served = true
			default:
			}
			return served || errorsWith(p, "overloaded") != away
		})
	}
	release <- true
	release <- true
	for _, w := range []*rawClient{second, fourth} {
		if got := w.receive("GET"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
	first.mustEnd()
}

// TestIdleConnectionsMakePlace for new ones, and requests under way do not: neither one that waits
// for its backend, nor one of whose header only a part has come, nor a tunnel.
func TestIdleConnectionsMakePlace(t *testing.T) {
	const most, later = 8, 30
	entered, release := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release), startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n")
			_, _ = io.Copy(conn, conn)
		}
	}), startBackend(t, mirror))
	pools := map[string]upstream.PoolConfig{}
	for i, name := range []string{"hold", "tunnel", "main"} {
		pool := o.Pools["main"]
		pool.Backends = pool.Backends[i : i+1]
		pools[name] = pool
	}
	o.Pools, o.Routes = pools, []routes.Config{{Path: "/hold", Pool: "hold"}, {Path: "/tunnel", Pool: "tunnel"}, {Pool: "main"}}
	o.Server.MaxConnections = most
	p, address := startProxy(t, o)
	waiting, tunnel, part := newWire(t, address), newWire(t, address), newWire(t, address)
	waiting.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	tunnel.send("GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n")
	tunnel.receive("GET")
	part.send("GET / HTTP/1.1\r\nHost: h\r\n")
	idle := newWire(t, address)
	idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.receive("GET")
	var last *rawClient
	for i := range later {
		if i%3 == 0 {
			newWire(t, address) // sends nothing
		}
		last = newWire(t, address)
		last.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := last.receive("GET"); got.StatusCode != 200 {
			t.Fatalf("connection %d got %d", i, got.StatusCode)
		}
	}
	if n := metric(p, "lb_connections"); n != fmt.Sprint(most) {
		t.Errorf("%s connections are open, want %d", n, most)
	}
	idle.mustEnd()
	release <- true
	part.send("\r\n")
	tunnel.send("x")
	if b, err := tunnel.in.ReadByte(); b != 'x' || err != nil {
		t.Errorf("the tunnel gave %q, %v", b, err)
	}
	for _, w := range []*rawClient{waiting, part} {
		if got := w.receive("GET"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
	if n := errorsWith(p, "overloaded"); n != "0" {
		t.Errorf("%s connections were turned away", n)
	}
}

// TestManyRequestsAtOneBackend sends more requests than the 512 connections that fasthttp allows by
// default.
func TestManyRequestsAtOneBackend(t *testing.T) {
	const many = 600
	var waiting atomic.Int32
	all := make(chan struct{})
	_, address := startProxy(t, testOptions(startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		if waiting.Add(1) == many {
			close(all)
		}
		select {
		case <-all:
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	})))
	var clients sync.WaitGroup
	for range many {
		w := newWire(t, address)
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		clients.Go(func() {
			if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 {
				t.Errorf("%v, %v", got.Response, err)
			}
		})
	}
	clients.Wait()
}
