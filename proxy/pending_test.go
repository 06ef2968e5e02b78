package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// gates hold up a backend: the header of each response, and its body, by the name in the path.
type gates struct {
	arrived      chan string
	header, body map[string]chan bool
}

func newGates(names ...string) *gates {
	g := &gates{make(chan string, len(names)), map[string]chan bool{}, map[string]chan bool{}}
	for _, name := range names {
		g.header[name], g.body[name] = make(chan bool), make(chan bool)
	}
	return g
}

func (g *gates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[1:]
	g.arrived <- name
	<-g.header[name]
	w.WriteHeader(200)
	_ = http.NewResponseController(w).Flush()
	<-g.body[name]
	_, _ = io.WriteString(w, name)
}

// TestMaxPending bounds the requests that wait for a header. One whose header has come does not
// count, nor does one that still sends its body.
func TestMaxPending(t *testing.T) {
	g := newGates("a", "b", "c", "upload", "d", "e")
	o := testOptions(startBackend(t, g.ServeHTTP))
	o.Pools["main"].Backends[0].MaxPending = 2
	p, address := startProxy(t, o)
	clients := map[string]*rawClient{}
	ask := func(name, request string) {
		t.Helper()
		clients[name] = newWire(t, address)
		clients[name].send(request)
		if got := <-g.arrived; got != name {
			t.Fatalf("%s has arrived, want %s", got, name)
		}
	}
	refused := func(request string) {
		t.Helper()
		w := newWire(t, address)
		w.send(request)
		checkProblem(t, w.receive("GET"), 503, "overloaded", "http://-:-")
	}
	const upload = "Content-Length: 100000"
	ask("a", withHost("GET /a HTTP/1.1"))
	ask("upload", withHost("POST /upload HTTP/1.1", upload))
	ask("b", withHost("GET /b HTTP/1.1"))
	refused(withHost("GET /c HTTP/1.1"))
	refused(withHost("POST /c HTTP/1.1", upload))
	g.header["a"] <- true
	if _, err := clients["a"].in.Peek(1); err != nil {
		t.Fatal(err)
	}
	ask("c", withHost("GET /c HTTP/1.1")) // a's body has not come yet
	refused(withHost("GET /d HTTP/1.1"))
	g.header["b"] <- true
	g.header["c"] <- true
	clients["upload"].send(strings.Repeat("x", 100000))
	g.header["upload"] <- true
	for name, w := range clients {
		close(g.body[name])
		if got := w.receive("GET"); got.StatusCode != 200 || string(got.body) != name {
			t.Errorf("%s: got %d %q", name, got.StatusCode, got.body)
		}
	}
	eventually(t, "three requests to be recorded as refused", func() bool { return errorsWith(p, "overloaded") == "3" })
	waitIdle(t, p)
	ask("d", withHost("GET /d HTTP/1.1")) // all places are free again
	ask("e", withHost("GET /e HTTP/1.1"))
	refused(withHost("GET /f HTTP/1.1"))
	for _, name := range []string{"d", "e"} {
		close(g.body[name])
		g.header[name] <- true
		clients[name].receive("GET")
	}
}

// TestFullBackendsAreNoTries: a request gets to the only backend with a place, however many are full
// and however few tries it has.
func TestFullBackendsAreNoTries(t *testing.T) {
	const full = 6
	for _, bound := range []struct {
		name string
		set  func(*upstream.BackendConfig)
	}{
		{"max_pending", func(b *upstream.BackendConfig) { b.MaxPending = 1 }},
		{"max_connections", func(b *upstream.BackendConfig) { b.MaxConnections = 1 }},
	} {
		t.Run(bound.name, func(t *testing.T) {
			entered, release := make(chan bool, full), make(chan bool)
			var urls []string
			for range full {
				urls = append(urls, startHoldingBackend(t, entered, release))
			}
			o := testOptions(append(urls, startBackend(t, mirror))...)
			for i := range full {
				bound.set(&o.Pools["main"].Backends[i])
			}
			withAttempts(&o, 1)
			_, address := startProxy(t, o)
			answers := make(chan answer, 100)
			ask := func() {
				w := newWire(t, address)
				w.send(withHost("GET / HTTP/1.1"))
				go func() {
					got, _ := w.tryReceive("GET")
					answers <- got
				}()
			}
			for held := 0; held < full; { // round robin begins anywhere
				ask()
				select {
				case <-entered:
					held++
				case <-answers:
				}
			}
			for range 20 {
				ask()
				if got := <-answers; got.Response == nil || got.StatusCode != 200 {
					t.Errorf("got %v", got.Response)
				}
			}
			for range full {
				release <- true
				<-answers
			}
		})
	}
}

// TestMaxPendingElsewhere sends what is over the bound to another backend.
func TestMaxPendingElsewhere(t *testing.T) {
	g := newGates("a")
	o := testOptions(startBackend(t, g.ServeHTTP), startBackend(t, mirror))
	o.Pools["main"].Backends[0].MaxPending = 1
	_, address := startProxy(t, o)
	first := make(chan answer, 1)
	for waits := false; !waits; { // round robin begins anywhere
		w := newWire(t, address)
		w.send(withHost("GET /a HTTP/1.1"))
		go func() {
			got, _ := w.tryReceive("GET")
			first <- got
		}()
		select {
		case <-g.arrived:
			waits = true
		case <-first:
		}
	}
	for range 10 {
		w := newWire(t, address)
		w.send(withHost("POST /a HTTP/1.1", "Content-Length: 5") + "hello")
		if got := w.receive("POST"); got.StatusCode != 200 || string(got.body) != "hello" {
			t.Errorf("got %d %q", got.StatusCode, got.body)
		}
	}
	close(g.body["a"])
	g.header["a"] <- true
	if got := <-first; got.Response == nil || got.StatusCode != 200 {
		t.Errorf("got %v", got.Response)
	}
}

// TestMaxPendingAndTheQueue: what is over the bound waits for the next header, and not for the body
// behind it.
func TestMaxPendingAndTheQueue(t *testing.T) {
	g := newGates("a", "b")
	o := testOptions(startBackend(t, g.ServeHTTP))
	pool := o.Pools["main"]
	pool.Queue = upstream.QueueConfig{Size: 4, Timeout: 10 * time.Second}
	pool.Backends[0].MaxPending = 1
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	a, b := newWire(t, address), newWire(t, address)
	a.send(withHost("GET /a HTTP/1.1"))
	<-g.arrived
	b.send(withHost("GET /b HTTP/1.1"))
	eventually(t, "b to wait", func() bool { return queuedRequests(p) == "1" })
	g.header["a"] <- true
	if got := <-g.arrived; got != "b" {
		t.Fatalf("%s has arrived", got)
	}
	g.header["b"] <- true
	for name, w := range map[string]*rawClient{"a": a, "b": b} {
		close(g.body[name])
		if got := w.receive("GET"); got.StatusCode != 200 || string(got.body) != name {
			t.Errorf("%s: got %d %q", name, got.StatusCode, got.body)
		}
	}
	if n := metric(p, `lb_retries_total{pool="main"}`); n != "0" {
		t.Errorf("lb_retries_total is %s", n)
	}
}
