package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// startHTTP2Backend answers with an http.Handler, in HTTP/2 in the clear, until the test ends, and
// returns its URL. most is how many requests a connection may have at once; 0: as many as it likes.
func startHTTP2Backend(t testing.TB, most int, h http.HandlerFunc) string {
	t.Helper()
	s := newHTTP2Backend(most, h)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c" + strings.TrimPrefix(s.URL, "http")
}

func newHTTP2Backend(most int, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: most}
	return s
}

// getAtOnce sends requests on connections of their own, each of which has to be answered with 200.
func getAtOnce(t *testing.T, address string, requests int) {
	t.Helper()
	var wait sync.WaitGroup
	for range requests {
		wait.Go(func() {
			if got := talk(t, address, get("/")); !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("got %.100q", got)
			}
		})
	}
	wait.Wait()
}

// TestHTTP2Backend sends requests of each kind to a backend of HTTP/2.
func TestHTTP2Backend(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 30_000)
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the backend got %s", r.Proto)
		}
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(204)
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(103)
			w.WriteHeader(200)
		case "/trailers":
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-Sum", "4"+r.Trailer.Get("X-Told"))
		default:
			mirror(w, r)
			_, _ = fmt.Fprintf(w, " %s %s %s", r.Host, r.Header.Get("Connection"), r.Header.Get("X-Forwarded-For"))
		}
	})
	_, address := startProxy(t, testOptions(url))
	for _, test := range []struct{ name, request, want string }{
		{"get", "GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\n", "X-Target: /a?b"},
		{"host and address", "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: x-this\r\nX-This: 1\r\n\r\n", " example.com  127.0.0.1"},
		{"small body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "hello a"},
		{"chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello a"},
		{"large body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + long, long + " a"},
		{"head", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "X-Method: HEAD"},
		{"no content", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204"},
		{"hints", "GET /hints HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		{"trailers", "POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Told\r\nTE: trailers\r\n\r\n0\r\nX-Told: !\r\n\r\n", "X-Sum: 4!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(t, address)
			w.send(test.request)
			a := w.receive(strings.Fields(test.request)[0])
			var b bytes.Buffer
			_ = a.Write(&b)
			got := b.String() + string(a.body)
			for name, values := range a.Trailer {
				got += name + ": " + values[0]
			}
			if !strings.Contains(strings.ToLower(got), strings.ToLower(test.want)) {
				t.Errorf("got %.300q, want it to contain %.100q", got, test.want)
			}
		})
	}
}

// TestHTTP2BackendStreamsBothWays sends and receives at once: each part comes back before the next
// one is sent.
func TestHTTP2BackendStreamsBothWays(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1<<10)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	})
	_, address := startProxy(t, testOptions(url))
	body, to := io.Pipe()
	request, _ := http.NewRequest("POST", "http://"+address+"/", body)
	type result struct {
		*http.Response
		error
	}
	came := make(chan result, 1)
	go func() {
		r, err := http.DefaultTransport.RoundTrip(request)
		came <- result{r, err}
	}()
	_, _ = io.WriteString(to, "first")
	r := <-came
	if r.error != nil {
		t.Fatal(r.error)
	}
	defer r.Body.Close()
	buf := make([]byte, 10)
	for i, part := range []string{"first", "second", "third"} {
		if i > 0 {
			_, _ = io.WriteString(to, part)
		}
		if n, err := io.ReadFull(r.Body, buf[:len(part)]); string(buf[:n]) != part {
			t.Fatalf("got %q, %v, want %q", buf[:n], err, part)
		}
	}
	_ = to.Close()
	if rest, err := io.ReadAll(r.Body); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v at the end", rest, err)
	}
}

// TestHTTP2BackendHeedsItsBound has more requests at once than the backend allows on a connection.
func TestHTTP2BackendHeedsItsBound(t *testing.T) {
	t.Parallel()
	const most, requests = 3, 40
	var now, peak atomic.Int64
	var mu sync.Mutex
	conns := map[string]int{}
	url := startHTTP2Backend(t, most, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if conns[r.RemoteAddr]++; conns[r.RemoteAddr] > most {
			t.Errorf("%d requests on one connection", conns[r.RemoteAddr])
		}
		mu.Unlock()
		if n := now.Add(1); n > peak.Load() {
			peak.Store(n)
		}
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		mu.Lock()
		conns[r.RemoteAddr]--
		mu.Unlock()
	})
	p, address := startProxy(t, testOptions(url))
	getAtOnce(t, address, requests)
	mustHaveNoErrors(t, p)
	if peak.Load() <= most {
		t.Errorf("at most %d requests at once: no more connections were opened", peak.Load())
	}
}

// TestHTTP2BackendIsFull has a backend that may have one connection, of two requests.
func TestHTTP2BackendIsFull(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	url := startHTTP2Backend(t, 2, func(http.ResponseWriter, *http.Request) { <-release })
	o := testOptions(url)
	pool := o.Pools["main"]
	pool.Backends[0].MaxConnections = 1
	o.Pools["main"] = pool
	p, address := startProxy(t, o)
	var wait sync.WaitGroup
	wait.Go(func() { getAtOnce(t, address, 2) })
	eventually(t, "two requests under way", func() bool {
		return metric(p, fmt.Sprintf("lb_backend_in_flight{pool=\"main\",backend=%q}", strings.TrimPrefix(url, "h2c://"))) == "2"
	})
	time.Sleep(20 * time.Millisecond)
	got := talk(t, address, get("/"))
	if !strings.Contains(got, `"reason":"overloaded"`) {
		t.Errorf("got %.300q, want overloaded", got)
	}
	close(release)
	wait.Wait()
}

// TestHTTP2BackendSlowStream has a client that does not read its response. Others on the same
// connection get theirs.
func TestHTTP2BackendSlowStream(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for part := make([]byte, 64<<10); ; {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}
		_, _ = w.Write(make([]byte, 1<<20))
	})
	_, address := startProxy(t, testOptions(url))
	for range 20 {
		conn := dial(t, address)
		_, _ = io.WriteString(conn, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	time.Sleep(200 * time.Millisecond)
	for range 5 {
		if got := talk(t, address, get("/")); len(got) < 1<<20 {
			t.Fatalf("got %d bytes", len(got))
		}
	}
}

// TestHTTP2BackendHearsOfGoneClients ends the backend's work once the client has gone.
func TestHTTP2BackendHearsOfGoneClients(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	url := startHTTP2Backend(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})
	p, address := startProxy(t, testOptions(url))
	conn := dial(t, address)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	waitForFlight(t, p)
	_ = conn.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the backend works on")
	}
}

func waitForFlight(t *testing.T, p *Proxy) {
	t.Helper()
	eventually(t, "a request under way", func() bool { return requestsUnderWay(p) > 0 })
	time.Sleep(20 * time.Millisecond)
}

// TestHTTP2BackendUpgrade refuses what a backend of HTTP/2 cannot do, without asking it.
func TestHTTP2BackendUpgrade(t *testing.T) {
	t.Parallel()
	url := startHTTP2Backend(t, 0, func(http.ResponseWriter, *http.Request) { t.Error("the backend was asked") })
	_, address := startProxy(t, testOptions(url))
	got := talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, `"reason":"bad_response"`) {
		t.Errorf("got %.300q, want 502 bad_response", got)
	}
}

// TestHTTP2BackendLargeBodies sends 64 MiB, with -long 1 GiB, both ways at once in bounded memory.
func TestHTTP2BackendLargeBodies(t *testing.T) {
	size := int64(64 << 20)
	if *long {
		size = 1 << 30
	}
	url := startHTTP2Backend(t, 0, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	_, address := startProxy(t, testOptions(url))
	source, sent, got := io.LimitReader(&repeated{of: randomBytes(1 << 20)}, size), sha256.New(), sha256.New()
	request, _ := http.NewRequest("POST", "http://"+address+"/", io.TeeReader(source, sent))
	before := heapInUse()
	r, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	block, n, heap := make([]byte, 1<<20), int64(0), int64(0)
	for err == nil {
		var m int
		m, err = io.ReadFull(r.Body, block)
		got.Write(block[:m])
		if n += int64(m); n%(8<<20) == 0 {
			heap = max(heap, heapInUse())
		}
	}
	if n != size || err != io.EOF {
		t.Fatalf("got %d bytes of %d, %v", n, size, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("the body has changed")
	}
	if heap-before > 8<<20 {
		t.Errorf("the heap has grown by %d KiB", (heap-before)>>10)
	}
}

// repeated repeats bytes.
type repeated struct {
	of []byte
	at int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.of[r.at:])
	r.at = (r.at + n) % len(r.of)
	return n, nil
}

// TestHTTP2BackendOverTLS speaks HTTP/2 by TLS, if the backend agrees to it.
func TestHTTP2BackendOverTLS(t *testing.T) {
	t.Parallel()
	for _, agrees := range []bool{true, false} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s %v %s", r.Proto, r.Host, r.TLS != nil, body)
		}))
		s.EnableHTTP2 = agrees
		s.StartTLS()
		t.Cleanup(s.Close)
		o := testOptions(s.URL)
		overHTTP2(t, &o)
		withAttempts(&o, 1)
		_, address := startProxy(t, o)
		w := newWire(t, address)
		w.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
		a := w.receive("POST")
		if agrees && string(a.body) != "HTTP/2.0 a.example true hello" {
			t.Errorf("got %d, %q", a.StatusCode, a.body)
		}
		if !agrees && !strings.Contains(string(a.body), `"reason":"connect_failed"`) {
			t.Errorf("without ALPN: got %d, %q", a.StatusCode, a.body)
		}
	}
}

// overHTTP2 has the backends of pool main speak HTTP/2, those of https:// with the certificates of
// tests.
func overHTTP2(t *testing.T, o *Options) {
	pool := o.Pools["main"]
	for i := range pool.Backends {
		pool.Backends[i].Protocol = upstream.ProtocolHTTP2
		if pool.Backends[i].URL.IsSecure() {
			pool.TLS.CA = writeAuthority()
			t.Cleanup(func() { _ = os.Remove(pool.TLS.CA) })
		}
	}
	o.Pools["main"] = pool
}
