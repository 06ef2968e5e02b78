package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// TestHTTP2WaitingRequestsMove is TestWaitingRequestsMove for a backend of HTTP/2.
func TestHTTP2WaitingRequestsMove(t *testing.T) {
	t.Parallel()
	body := string(randomBytes(40 << 10))
	for name, test := range map[string]struct{ request, want string }{
		"GET":             {get("/"), "other"},
		"POST":            {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "late"},
		"PUT, sent whole": {fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "other"},
	} {
		for _, silent := range []time.Duration{0, 1200 * time.Millisecond} { // before and after the client is watched
			t.Run(fmt.Sprintf("%s after %s", name, silent), func(t *testing.T) {
				t.Parallel()
				arrived, release := make(chan bool, 1), make(chan bool)
				first := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					arrived <- true
					<-release
					_, _ = io.WriteString(w, "late")
				})
				second := startHTTP2Backend(t, 0, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
				p, address := startProxy(t, testOptions(first, second))
				pool := p.pools.byName["main"].Pool
				client := newWire(t, address)
				client.send(test.request)
				<-arrived
				time.Sleep(silent + 20*time.Millisecond)
				pool.Mark(backendOf(t, pool, strings.TrimPrefix(first, "h2c://")), upstream.Down, true)
				if test.want == "late" {
					time.Sleep(100 * time.Millisecond)
					close(release)
				} else {
					defer close(release)
				}
				if a := client.receive("GET"); a.StatusCode != 200 || string(a.body) != test.want {
					t.Errorf("got %d %q, want %q", a.StatusCode, a.body, test.want)
				}
			})
		}
	}
}

// TestHTTP2BackendDiesUnderLoad kills one of two backends. No GET is lost.
func TestHTTP2BackendDiesUnderLoad(t *testing.T) {
	t.Parallel()
	slow := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * time.Millisecond)
		_, _ = io.WriteString(w, "hello")
	}
	dying := newHTTP2Backend(0, slow)
	dying.Start()
	second := startHTTP2Backend(t, 0, slow)
	p, address := startProxy(t, testOptions("h2c"+strings.TrimPrefix(dying.URL, "http"), second))
	var wait sync.WaitGroup
	var done atomic.Int64
	var enough atomic.Bool
	for range 8 {
		wait.Go(func() {
			w := newWire(t, address)
			for ; !enough.Load(); done.Add(1) {
				w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if a, err := w.tryReceive("GET"); err != nil || a.StatusCode != 200 {
					t.Errorf("got %v, %v", a.Response, err)
					return
				}
			}
		})
	}
	eventually(t, "100 requests", func() bool { return done.Load() >= 100 })
	_ = dying.Listener.Close()
	dying.CloseClientConnections()
	before := done.Load()
	eventually(t, "100 more", func() bool { return done.Load() >= before+100 })
	enough.Store(true)
	wait.Wait()
	dying.Close()
	mustHaveNoErrors(t, p)
}

// TestHTTP2BackendIsSilent is for the time-outs of a response.
func TestHTTP2BackendIsSilent(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	o := testOptions(url)
	setResponseHeader(&o, 250*time.Millisecond)
	o.Server.BodyTimeout = 500 * time.Millisecond
	p, address := startProxy(t, o)
	if got := talk(t, address, get("/")); !strings.Contains(got, `"reason":"response_timeout"`) {
		t.Errorf("got %q", got)
	}
	w := newWire(t, address)
	w.send("GET /body HTTP/1.1\r\nHost: a\r\n\r\n")
	if a, err := w.tryReceive("GET"); err == nil {
		t.Errorf("got a whole response, %q", a.body)
	}
	waitIdle(t, p)
	if n := errorsWith(p, "backend_aborted"); n != "1" {
		t.Errorf("%s are backend_aborted", n)
	}
}

// TestHTTP2BackendAnswersEarly has a backend answer before it has read the request's body. Its answer
// arrives every time.
func TestHTTP2BackendAnswersEarly(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(413)
		_, _ = io.WriteString(w, "too much")
	})
	p, address := startProxy(t, testOptions(url))
	for range 20 {
		w := newWire(t, address)
		go func() {
			_, _ = fmt.Fprintf(w, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n%10000000d", 1)
		}()
		if a := w.receive("PUT"); a.StatusCode != 413 || string(a.body) != "too much" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
		_ = w.Close()
	}
	waitIdle(t, p)
}

// TestHTTP2BackendLargeHeader has a header that fills the client's buffer, in front of a body.
func TestHTTP2BackendLargeHeader(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 10 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 5000))
		}
		_, _ = io.WriteString(w, "hello")
	})
	_, address := startProxy(t, testOptions(url))
	began := time.Now()
	if got := talk(t, address, get("/")); !strings.HasSuffix(got, "hello") && !strings.Contains(got, "5\r\nhello") || len(got) < 50_000 {
		t.Errorf("got %d bytes, %.200q", len(got), got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestHTTP2BackendQueue has requests wait for a place on the one connection that the backend may have.
func TestHTTP2BackendQueue(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	url := startHTTP2Backend(t, 2, func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > 2 {
			t.Errorf("%d requests at once", n)
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
	})
	o := testOptions(url)
	pool := o.Pools["main"]
	pool.Backends[0].MaxConnections = 1
	pool.Queue = upstream.QueueConfig{Size: 100, Timeout: 10 * time.Second}
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	getAtOnce(t, address, 20)
	mustHaveNoErrors(t, p)
}

// TestHTTP2BackendIsDrained has the connections of a drained backend end with their last request.
func TestHTTP2BackendIsDrained(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var open atomic.Int64
	s := newHTTP2Backend(0, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, "drained")
	})
	s.Listener = openListener{s.Listener, &open}
	s.Start()
	t.Cleanup(s.Close)
	first := "h2c" + strings.TrimPrefix(s.URL, "http")
	second := startHTTP2Backend(t, 0, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	p, address := startProxy(t, testOptions(first, second))
	pool := p.pools.byName["main"].Pool
	slow := newWire(t, address)
	slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "a connection", func() bool { return open.Load() == 1 })
	pool.Mark(backendOf(t, pool, strings.TrimPrefix(first, "h2c://")), upstream.Draining, true)
	for range 10 {
		if got := talk(t, address, get("/")); !strings.Contains(got, "other") {
			t.Errorf("got %q", got)
		}
	}
	if open.Load() != 1 {
		t.Errorf("%d connections while a request is under way", open.Load())
	}
	close(release)
	if a := slow.receive("GET"); string(a.body) != "drained" {
		t.Errorf("got %q", a.body)
	}
	eventually(t, "the connection to end", func() bool { return open.Load() == 0 })
}

// TestHTTP2ReloadChangesTheProtocol has a backend speak HTTP/2 in place of HTTP/1, and back.
func TestHTTP2ReloadChangesTheProtocol(t *testing.T) {
	t.Parallel()
	s := newHTTP2Backend(0, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	t.Cleanup(s.Close)
	o := testOptions(s.URL)
	p, address := startProxy(t, o)
	w := newWire(t, address)
	for _, protocol := range []upstream.Protocol{upstream.ProtocolHTTP1, upstream.ProtocolHTTP2, upstream.ProtocolHTTP1} {
		pool := o.Pools["main"]
		pool.Backends = slices.Clone(pool.Backends)
		pool.Backends[0].Protocol = protocol
		p.pools.byName["main"].Apply(pool)
		want := map[upstream.Protocol]string{upstream.ProtocolHTTP1: "HTTP/1.1", upstream.ProtocolHTTP2: "HTTP/2.0"}[protocol]
		w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := w.receive("GET"); string(a.body) != want {
			t.Errorf("%s: got %q", protocol, a.body)
		}
	}
}

// TestHTTP2Fields has a backend of HTTP/2 get what a client says that is allowed in HTTP/2, and the
// client get its response with a Via of HTTP/2.
func TestHTTP2Fields(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%q %q %q %q", r.Header["Te"], r.Header["Via"], r.Header["Connection"], r.Header["X-A"])
	})
	o := testOptions(url)
	o.Server.Via = message.ViaName("lb")
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: TE, x-b\r\nX-B: 1\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
	a := w.receive("GET")
	if want := `["trailers"] ["1.1 lb"] [] ["1" "2"]`; string(a.body) != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
	if via := a.Header.Get("Via"); via != "2.0 lb" {
		t.Errorf("the client got Via: %s", via)
	}
}

// TestHTTP2ConnectionsAreNotKept has timeouts.idle be 0: each request gets a connection of its own.
func TestHTTP2ConnectionsAreNotKept(t *testing.T) {
	t.Parallel()
	var open atomic.Int64
	var mu sync.Mutex
	seen := map[string]bool{}
	s := newHTTP2Backend(0, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if seen[r.RemoteAddr] {
			t.Error("a connection was used twice")
		}
		seen[r.RemoteAddr] = true
	})
	s.Listener = openListener{s.Listener, &open}
	s.Start()
	t.Cleanup(s.Close)
	o := testOptions("h2c" + strings.TrimPrefix(s.URL, "http"))
	pool := o.Pools["main"]
	pool.Timeouts.Idle = 0
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	getAtOnce(t, address, 20)
	mustHaveNoErrors(t, p)
	eventually(t, "all connections to end", func() bool { return open.Load() == 0 })
}

// TestHTTP2BackendFloods has a backend send PINGs and read no answer. Its connection ends, before
// the answers have taken much memory.
func TestHTTP2BackendFloods(t *testing.T) {
	ended := make(chan int, 1)
	url := startFramedBackend(t, func(c *framedConn, _ uint32) error {
		for n := 0; ; n++ {
			if err := c.WritePing(false, [8]byte{}); err != nil {
				ended <- n
				return err
			}
		}
	})
	o := testOptions(url)
	withAttempts(&o, 1)
	_, address := startProxy(t, o)
	before := heapInUse()
	if got := talk(t, address, get("/")); !strings.Contains(got, `"reason":"backend_reset"`) {
		t.Errorf("got %q", got)
	}
	if n := <-ended; n > 5_000_000 {
		t.Errorf("it took %d PINGs", n)
	}
	if heap := heapInUse(); heap-before > 8<<20 {
		t.Errorf("the heap has grown by %d KiB", (heap-before)>>10)
	}
}

// TestHTTP2BackendIsDead has a backend be silent: one that answers PINGs is waited for, and one that
// does not is given up.
func TestHTTP2BackendIsDead(t *testing.T) {
	if !*long {
		t.Skip("takes 35 s")
	}
	t.Parallel()
	for name, dead := range map[string]bool{"alive": false, "dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := startFramedBackend(t, func(c *framedConn, id uint32) error {
				if dead {
					<-t.Context().Done()
					return io.EOF
				}
				go func() {
					time.Sleep(35 * time.Second) // longer than a ping and its answer take
					c.header(id, true, ":status", "204")
				}()
				for {
					f, err := c.ReadFrame()
					if err != nil {
						return err
					}
					if f, ok := f.(*http2.PingFrame); ok && !f.IsAck() {
						_ = c.WritePing(true, f.Data)
					}
				}
			})
			o := testOptions(url)
			setResponseHeader(&o, time.Minute)
			withAttempts(&o, 1)
			_, address := startProxy(t, o)
			w := newWire(t, address)
			_ = w.SetDeadline(time.Now().Add(time.Minute))
			w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			began := time.Now()
			a := w.receive("GET")
			if took := time.Since(began).Round(time.Second); dead != strings.Contains(string(a.body), `"reason":"backend_reset"`) || dead != (took < 32*time.Second) || took < 24*time.Second {
				t.Errorf("got %d %q after %s", a.StatusCode, a.body, took)
			}
		})
	}
}
