package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

func TestRefusedRequestGoesElsewhere(t *testing.T) {
	_, address := startProxy(t, testOptions("http://"+closedPort(t), "http://"+closedPort(t), startBackend(t, mirror)))
	for _, method := range []string{"GET", "POST", "PATCH", "PROPFIND"} {
		for _, size := range []int{0, 100, 100_000} {
			w := newWire(t, address)
			go fmt.Fprintf(w, "%s / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, size, strings.Repeat("b", size))
			if got := w.receive(method); got.StatusCode != 200 || len(got.body) != size {
				t.Errorf("%s with %d bytes: got %d and %d bytes", method, size, got.StatusCode, len(got.body))
			}
		}
	}
}

// TestUnansweredRequest has every backend read the request and leave without an answer. Only what
// may be done twice is sent twice.
func TestUnansweredRequest(t *testing.T) {
	for _, test := range []struct {
		method   string
		body     int
		partial  string // sent before the backend leaves
		attempts int
		want     int32 // requests that arrive at all backends together
	}{
		{"GET", 0, "", 3, 3},
		{"GET", 0, "", 1, 1},
		{"GET", 0, "", 4, 4},
		{"HEAD", 0, "", 2, 2},
		{"PUT", 10, "", 2, 2},
		{"PUT", 100_000, "", 3, 1}, // the body is gone
		{"DELETE", 0, "", 2, 2},
		{"POST", 0, "", 3, 1},
		{"POST", 10, "", 3, 1},
		{"PATCH", 10, "", 3, 1},
		{"GET", 0, "H", 3, 1}, // a byte of a response has come
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			var backends []*counted
			var urls []string
			for range 4 {
				b := startCounted(t, answerOnce(test.partial))
				backends, urls = append(backends, b), append(urls, b.url)
			}
			o := testOptions(urls...)
			pool := o.Pools["main"]
			pool.Retry.Attempts = test.attempts
			o.Pools["main"] = pool
			p, address := startProxy(t, o)
			w := newWire(t, address)
			w.send(fmt.Sprintf("%s / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", test.method, test.body, strings.Repeat("b", test.body)))
			if got := w.receive(test.method); got.StatusCode != 502 {
				t.Errorf("got %d, want 502", got.StatusCode)
			}
			var sum int32
			for i, b := range backends {
				n := b.requests.Load()
				if sum += n; n > 1 {
					t.Errorf("backend %d got the request %d times", i, n)
				}
			}
			if sum != test.want {
				t.Errorf("%d requests arrived, want %d", sum, test.want)
			}
			if n := metric(p, `lb_retries_total{pool="main"}`); test.want == 3 && n != "2" {
				t.Errorf("lb_retries_total is %s, want 2", n)
			}
		})
	}
}

// TestIdleConnectionsThatEnd has a backend that closes idle connections, and pauses around the
// moment at which it does.
func TestIdleConnectionsThatEnd(t *testing.T) {
	const idle = 2 * time.Millisecond
	url := startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := in.Peek(1); err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
			if _, _, err := readRequest(in); err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(idle))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p, address := startProxy(t, testOptions(url))
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			w := newWire(t, address)
			for i := range 300 {
				_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 {
					t.Errorf("request %d: %v %v", i, got.Response, err)
					return
				}
				time.Sleep(idle + time.Duration(i%9-4)*100*time.Microsecond) // the race is what is tested
			}
		})
	}
	clients.Wait()
	if n := metric(p, attemptsAt(url, 502)); n != "" {
		t.Errorf("%s ends of idle connections were counted as failures of the backend", n)
	}
}

// closeWhenTold answers one request, and closes the connection when it is told to and then says so.
func closeWhenTold(closed chan bool) func(net.Conn) {
	return func(conn net.Conn) {
		if _, _, err := readRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		<-closed
		conn.Close()
		closed <- true
	}
}

// TestPostAfterTheBackendClosed sends what must not be sent twice on a pool of connections that the
// backend has closed in the meantime.
func TestPostAfterTheBackendClosed(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		closed := make(chan bool)
		_, address := startProxy(t, testOptions(startUnixBackend(t, closeWhenTold(closed))))
		w := newWire(t, address)
		for range 20 {
			w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("b", size)))
			if got := w.receive("POST"); got.StatusCode != 200 {
				t.Fatalf("got %d", got.StatusCode)
			}
			closed <- true
			<-closed
		}
	}
}

// TestBackendClosesWhileTheBodyComes has the connection chosen end between the header of a request
// and its body.
func TestBackendClosesWhileTheBodyComes(t *testing.T) {
	closed := make(chan bool)
	_, address := startProxy(t, testOptions(startUnixBackend(t, closeWhenTold(closed))))
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	w.receive("GET")
	for range 10 {
		w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if line, err := readRequestHeader(w.in); err != nil || !strings.Contains(line, " 100 ") { // a connection has been chosen
			t.Fatalf("got %q, %v", line, err)
		}
		closed <- true
		<-closed
		w.send("hello")
		if got := w.receive("POST"); got.StatusCode != 200 {
			t.Fatalf("got %d", got.StatusCode)
		}
	}
	closed <- true
	<-closed
}

// TestBackendKilledUnderLoad resets every connection of one backend of ten, and its listener, while
// clients send. Its answers are whole or absent, so that no request needs to fail.
func TestBackendKilledUnderLoad(t *testing.T) {
	var mu sync.Mutex
	victims := map[net.Conn]bool{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answerOK := answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			victims[conn] = true
			mu.Unlock()
			go answerOK(conn)
		}
	}()
	urls := []string{"http://" + ln.Addr().String()}
	for range 9 {
		urls = append(urls, startRawBackend(t, answerOK))
	}
	p, address := startProxy(t, testOptions(urls...))
	var answered atomic.Int32
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			w := newWire(t, address)
			for range 100 {
				_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 {
					t.Errorf("%v %v", got.Response, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, "load", func() bool { return answered.Load() > 1000 })
	ln.Close()
	mu.Lock()
	for conn := range victims {
		reset(conn)
	}
	mu.Unlock()
	clients.Wait()
	if n := metric(p, `lb_retries_total{pool="main"}`); n == "0" {
		t.Error("no request was tried elsewhere: the backend was not killed under load")
	}
}

// sightings counts how often each request, known by its target, began to arrive.
type sightings struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *sightings) add(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[target]++
}

// readAndReset reads requests, and of each body as much as its number says. It answers every third
// one, so that connections are reused, and ends with RST at the others.
func (s *sightings) readAndReset(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		s.add(r.RequestURI)
		var n int
		_, _ = fmt.Sscanf(r.RequestURI, "/%d", &n)
		if n%3 == 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
			continue
		}
		_, _ = io.CopyN(io.Discard, r.Body, int64(n%7)*1000)
		reset(conn)
		return
	}
}

// TestNoPostIsSeenTwice has backends reset in the middle of POSTs of every framing.
func TestNoPostIsSeenTwice(t *testing.T) {
	const clients = 10
	posts := 1000
	if *long {
		posts = 10_000
	}
	s := &sightings{seen: map[string]int{}}
	_, address := startProxy(t, testOptions(startRawBackend(t, s.readAndReset), startRawBackend(t, s.readAndReset), startRawBackend(t, s.readAndReset)))
	bodies := []string{
		"Content-Length: 0\r\n\r\n",
		"Content-Length: 1000\r\n\r\n" + strings.Repeat("b", 1000),
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 100<<10, strings.Repeat("b", 100<<10)),
		"Transfer-Encoding: chunked\r\n\r\n" + inChunks(make([]byte, 1000)),
		"Transfer-Encoding: chunked\r\n\r\n" + inChunks(make([]byte, 100<<10)),
	}
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(posts); n = next.Add(1) {
				w := newWire(t, address)
				_, _ = io.WriteString(w, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: h\r\n", n)+bodies[n%int64(len(bodies))])
				if got, err := w.tryReceive("POST"); err != nil || got.StatusCode != 200 {
					failed.Add(1)
				}
				w.Close()
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for target, n := range s.seen {
		if n > 1 {
			t.Errorf("POST %s was seen %d times", target, n)
		}
	}
	if len(s.seen) < posts*9/10 || failed.Load() < int64(posts)/2 {
		t.Errorf("only %d of %d POSTs arrived, and %d failed", len(s.seen), posts, failed.Load())
	}
}

// TestIdempotencyKey has every backend read the request and leave without an answer. A key counts
// only where the pool says so.
func TestIdempotencyKey(t *testing.T) {
	for _, test := range []struct {
		method, fields string
		on             bool
		want           int32 // requests that arrive at all backends together
	}{
		{"POST", "Idempotency-Key: \"8e03978e\"\r\n", true, 3},
		{"POST", "idempotency-KEY:1\r\n", true, 3},
		{"PATCH", "Idempotency-Key: 1\r\n", true, 3},
		{"POST", "Idempotency-Key: \r\nIdempotency-Key: 1\r\n", true, 3},
		{"POST", "Connection: Idempotency-Key\r\nIdempotency-Key: 1\r\n", true, 3}, // and it arrives
		{"POST", "Idempotency-Key: 1\r\n", false, 1},
		{"POST", "Idempotency-Key:\r\n", true, 1},
		{"POST", "Idempotency-Key: \t\r\n", true, 1},
		{"POST", "Idempotency_Key: 1\r\n", true, 1},
		{"POST", "X-Idempotency-Key: 1\r\n", true, 1},
		{"POST", "", true, 1},
		{"PUT", "", false, 3},
	} {
		for _, body := range []string{"Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"} {
			t.Run(fmt.Sprintf("%v %.7s", test, body), func(t *testing.T) {
				t.Parallel()
				var arrived, keyed atomic.Int32
				backend := func(conn net.Conn) {
					if r, _, err := readRequest(bufio.NewReader(conn)); err == nil {
						arrived.Add(1)
						if r.Header["Idempotency-Key"] != nil {
							keyed.Add(1)
						}
					}
				}
				o := testOptions(startRawBackend(t, backend), startRawBackend(t, backend), startRawBackend(t, backend))
				pool := o.Pools["main"]
				pool.Retry.IdempotencyKey = test.on
				o.Pools["main"] = pool
				_, address := startProxy(t, o)
				w := newWire(t, address)
				w.send(test.method + " / HTTP/1.1\r\nHost: h\r\n" + test.fields + body)
				if got := w.receive(test.method); got.StatusCode != 502 {
					t.Errorf("got %d, want 502", got.StatusCode)
				}
				if n := arrived.Load(); n != test.want {
					t.Errorf("%d requests arrived, want %d", n, test.want)
				}
				if n := keyed.Load(); n != arrived.Load() && test.want > 1 && test.method != "PUT" {
					t.Errorf("the key arrived %d times, the request %d times", n, arrived.Load())
				}
			})
		}
	}
}

// TestNoRetryOnceAByteCame has backends break off at every place in the header of a response, an
// interim one's among them.
func TestNoRetryOnceAByteCame(t *testing.T) {
	const response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	for cut := 0; cut < len(response); cut += 3 {
		backends := []*counted{startCounted(t, answerOnce(response[:cut])), startCounted(t, answerOnce(response[:cut]))}
		o := testOptions(backends[0].url, backends[1].url)
		withAttempts(&o, 2)
		_, address := startProxy(t, o)
		talk(t, address, get("/")) // 502
		want := int32(1)
		if cut == 0 {
			want = 2
		}
		if n := backends[0].requests.Load() + backends[1].requests.Load(); n != want {
			t.Errorf("after %q, %d requests arrived, want %d", response[:cut], n, want)
		}
	}
}

// sendGETs sends requests over some connections and returns how many were answered 200, and how
// many got no answer at all.
func sendGETs(t *testing.T, address string, clients, requests int) (ok, unanswered int64) {
	var next, oks, lost atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			w := newWire(t, address)
			for next.Add(1) <= int64(requests) {
				_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				got, err := w.tryReceive("GET")
				switch {
				case err != nil:
					lost.Add(1)
					return
				case got.StatusCode == 200:
					oks.Add(1)
				case got.StatusCode != 502 || !strings.Contains(string(got.body), `"backend_reset"`):
					t.Errorf("got %d %s, want what the last attempt stands for", got.StatusCode, got.body)
				}
			}
		})
	}
	all.Wait()
	return oks.Load(), lost.Load()
}

// counter is the value of a pool's counter.
func counter(t *testing.T, p *Proxy, name string) int {
	t.Helper()
	n, err := strconv.Atoi(metric(p, name+`{pool="main"}`))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestRetriesDoNotMultiplyAStorm has all backends accept, read and reset.
func TestRetriesDoNotMultiplyAStorm(t *testing.T) {
	const requests = 2000
	var urls []string
	var backends []*counted
	for range 4 {
		b := startCounted(t, func(conn net.Conn) { reset(conn) })
		backends, urls = append(backends, b), append(urls, b.url)
	}
	p, address := startProxy(t, testOptions(urls...))
	start := time.Now()
	ok, unanswered := sendGETs(t, address, 20, requests)
	seconds := int(time.Since(start)/time.Second) + 2 // that have begun, by the balancer's clock
	if ok != 0 || unanswered != 0 {
		t.Errorf("%d requests were answered 200, and %d not at all", ok, unanswered)
	}
	attempts := 0
	for _, b := range backends {
		attempts += int(b.requests.Load())
	}
	if most := requests*12/10 + 10*seconds; attempts < requests*11/10 || attempts > most {
		t.Errorf("%d requests became %d attempts, want %d at most, and retries among them", requests, attempts, most)
	}
	made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total")
	// An attempt whose backend is taken out before the request was sent does not arrive.
	if lost := made - (attempts - requests); lost < 0 || lost > requests/100 || denied < requests/2 {
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d, of %d attempts for %d requests", made, denied, attempts, requests)
	}
}

// TestRepetitionsDoNotMultiplyAStorm has the only backend accept, read and reset. Where requests
// wait for that, a retry is denied once, too.
func TestRepetitionsDoNotMultiplyAStorm(t *testing.T) {
	const requests = 100
	for _, queue := range []int{0, requests} {
		b := startCounted(t, func(conn net.Conn) { reset(conn) })
		o := testOptions(b.url)
		pool := o.Pools["main"]
		pool.Queue = upstream.QueueConfig{Size: queue, Timeout: time.Second}
		o.Pools["main"] = pool
		p, address := startProxy(t, o)
		start := time.Now()
		sendGETs(t, address, 10, requests)
		seconds := int(time.Since(start)/time.Second) + 2
		made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total")
		if most := requests/5 + 10*seconds; made == 0 || made > most || denied == 0 || denied > requests || int(b.requests.Load()) != requests+made {
			t.Errorf("queue of %d: lb_retries_total is %d, lb_retries_denied_total %d, and %d requests arrived", queue, made, denied, b.requests.Load())
		}
	}
}

// TestRefusedIsAlwaysTriedElsewhere has most backends refuse: far more retries than the budget
// holds, none of which it has a say in.
func TestRefusedIsAlwaysTriedElsewhere(t *testing.T) {
	const requests = 500
	p, address := startProxy(t, testOptions("http://"+closedPort(t), "http://"+closedPort(t),
		startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))))
	if ok, _ := sendGETs(t, address, 10, requests); ok != requests {
		t.Errorf("%d of %d requests were answered 200", ok, requests)
	}
	if made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total"); made < requests/3 || denied != 0 { // one of the two is soon ejected
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d", made, denied)
	}
}

// TestOneBackendDiesUnderLoad has one of eight backends reset all its connections at one moment, go
// on accepting and reset every further one: the budget has room for all that meets it.
func TestOneBackendDiesUnderLoad(t *testing.T) {
	const requests = 5000
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	var served, killed atomic.Int64
	urls := []string{startRawBackend(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := readRequestHeader(in); err != nil {
				return
			}
			if served.Add(1) > 100 {
				killed.Add(1)
				reset(conn)
				return
			}
			_, _ = io.WriteString(conn, answer)
		}
	})}
	for range 7 {
		urls = append(urls, startRawBackend(t, answerAll(answer)))
	}
	p, address := startProxy(t, testOptions(urls...))
	if ok, _ := sendGETs(t, address, 50, requests); ok != requests {
		t.Errorf("%d of %d requests were answered 200", ok, requests)
	}
	if made := counter(t, p, "lb_retries_total"); made == 0 || killed.Load() < int64(made) {
		t.Errorf("%d retries of %d requests that were reset", made, killed.Load())
	}
}
