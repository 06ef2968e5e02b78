package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
)

// queueOptions are those of a pool with a queue, whose backends take one request at a time and
// whose clients are named by a trusted proxy.
func queueOptions(queue upstream.QueueConfig, backends ...string) Options {
	o := ejectionOptions(backends...)
	pool := o.Pools["main"]
	pool.Queue = queue
	for i := range pool.Backends {
		pool.Backends[i].MaxConnections = 1
	}
	o.Pools["main"] = pool
	return o
}

func queuedRequests(p *Proxy) string { return metric(p, `lb_queued_requests{pool="main"}`) }

// TestQueue: requests beyond what the backend may have wait, clients in turn and each client's in
// their order. Those that find the queue full get 503, as does one whose time is over, and the
// place of a client that has left is free.
func TestQueue(t *testing.T) {
	entered, release := make(chan string), make(chan bool)
	backend := startRawBackend(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			head, err := readRequestHeader(in)
			if err != nil {
				return
			}
			entered <- strings.Fields(head)[1]
			<-release
			_, _ = io.WriteString(conn, leaseOK)
		}
	})
	o := queueOptions(upstream.QueueConfig{Size: 4, Timeout: 10 * time.Second}, backend)
	var log logLines
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	waiting := 0
	send := func(path, client string) *rawClient {
		w := newWire(t, address)
		w.send(requestOf("POST", path, client))
		return w
	}
	enter := func(path, client string) *rawClient {
		w := send(path, client)
		waiting++
		eventually(t, path+" to wait", func() bool { return queuedRequests(p) == fmt.Sprint(waiting) })
		return w
	}
	const a, b = "192.0.2.1", "192.0.2.2"
	first := send("/first", a)
	if got := <-entered; got != "/first" {
		t.Fatalf("got %s", got)
	}
	clients := []*rawClient{first, enter("/a1", a), enter("/a2", a)}
	leaves := enter("/leaves", a)
	clients = append(clients, enter("/b1", b))
	checkProblem(t, send("/over", b).receive("POST"), 503, "overloaded", backend)
	eventually(t, "the line", func() bool { return len(log.parsed(t)) == 1 })
	checkLine(t, log.parsed(t)[0], map[string]any{"path": "/over", "reason": "overloaded", "cause": "every backend is full or out, and 4 requests wait already"})
	_ = leaves.Close()
	eventually(t, "the place to be free", func() bool { return queuedRequests(p) == "3" })
	for _, want := range []string{"/a1", "/b1", "/a2"} {
		release <- true
		if got := <-entered; got != want {
			t.Errorf("the turn of %s, want %s", got, want)
		}
	}
	release <- true
	for _, c := range clients {
		if got := c.receive("POST"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
}

// TestQueueTimeout: a request whose time in the queue is over gets 503, at its time.
func TestQueueTimeout(t *testing.T) {
	entered, release := make(chan bool, 1), make(chan bool)
	defer close(release)
	o := queueOptions(upstream.QueueConfig{Size: 4, Timeout: 200 * time.Millisecond}, startHoldingBackend(t, entered, release))
	var log logLines
	o.Access, o.Log = AccessErrors, zerolog.New(&log)
	p, address := startProxy(t, o)
	newWire(t, address).send(get("/"))
	<-entered
	began := time.Now()
	w := newWire(t, address)
	w.send(get("/"))
	checkProblem(t, w.receive("GET"), 503, "overloaded", "http://-:-")
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("after %s", took)
	}
	eventually(t, "the line", func() bool { return len(log.parsed(t)) == 1 })
	checkLine(t, log.parsed(t)[0], map[string]any{"reason": "overloaded", "cause": "every backend was full or out for 200ms", "attempts": nil})
	if n := queuedRequests(p); n != "0" {
		t.Errorf("%s requests wait", n)
	}
}

// TestQueueWhileTheBackendIsAway: requests of which no backend has taken a byte wait until the only
// one is there, whatever their method, and then all are sent soon.
func TestQueueWhileTheBackendIsAway(t *testing.T) {
	for _, down := range []bool{false, true} { // or it only refuses connections
		t.Run(fmt.Sprintf("down %v", down), func(t *testing.T) {
			t.Parallel()
			fd, backend := bind(t)
			o := testOptions("http://" + backend)
			pool := o.Pools["main"]
			pool.Queue = upstream.QueueConfig{Size: 200, Timeout: 10 * time.Second}
			o.Pools["main"] = pool
			p, address := startProxy(t, o)
			main := p.pools.byName["main"].Pool
			b := backendOf(t, main, backend)
			main.Mark(b, upstream.Down, down)
			const requests = 150 // which would take 3 s one after the other
			failed := make(chan string, requests)
			var clients sync.WaitGroup
			for i := range requests {
				clients.Go(func() {
					method := []string{"GET", "POST"}[i%2]
					if got := talk(t, address, requestOf(method, "/", "192.0.2.1")); !strings.Contains(got, " 200 ") {
						failed <- got
					}
				})
			}
			time.Sleep(300 * time.Millisecond)
			listenOn(t, fd, func(conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					if _, _, err := readRequest(in); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
					_, _ = io.WriteString(conn, leaseOK)
				}
			})
			main.Mark(b, upstream.Down, false)
			back := time.Now()
			clients.Wait()
			if took := time.Since(back); took > 2*time.Second {
				t.Errorf("%d requests took %s", requests, took)
			}
			close(failed)
			for got := range failed {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestQueuedRequestsAreInFlight: a request that waits counts towards its client's max_in_flight,
// and ends to do so with its wait.
func TestQueuedRequestsAreInFlight(t *testing.T) {
	entered, release := make(chan bool, 3), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	pool := o.Pools["main"]
	pool.Queue, pool.Backends[0].MaxConnections = upstream.QueueConfig{Size: 4, Timeout: 10 * time.Second}, 1
	o.Pools["main"] = pool
	o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 2})
	p, address := startProxy(t, o)
	served, waits, third := newWire(t, address), newWire(t, address), newWire(t, address)
	served.send(get("/"))
	<-entered
	waits.send(get("/"))
	eventually(t, "a request to wait", func() bool { return queuedRequests(p) == "1" })
	third.send(get("/"))
	checkProblem(t, third.receive("GET"), 429, "too_many_in_flight", "http://-:-")
	_ = waits.Close()
	eventually(t, "the lease to end", func() bool { return underWay(o.Limiter) == 1 })
	third = newWire(t, address)
	third.send(get("/"))
	release <- true
	<-entered
	release <- true
	for _, w := range []*rawClient{served, third} {
		if got := w.receive("GET"); got.StatusCode != 200 {
			t.Errorf("got %d", got.StatusCode)
		}
	}
}

// listenOn listens on a socket that is bound.
func listenOn(t *testing.T, fd int, serve func(net.Conn)) {
	t.Helper()
	if err := syscall.Listen(fd, 128); err != nil {
		t.Fatal(err)
	}
	own, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(own), "listener")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
}
