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
)

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

// readAndReset reads requests, and of each body as much as its number says. It
// answers every third one, so that connections are reused, and ends with RST at the
// others.
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

// TestIdempotencyKey has every backend read the request and leave without an
// answer. A key counts only where the pool says so.
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

// TestNoRetryOnceAByteCame has backends break off at every place in the header of a
// response, an interim one's among them.
func TestNoRetryOnceAByteCame(t *testing.T) {
	const response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	for cut := 0; cut < len(response); cut += 3 {
		backends := []*counted{startCounted(t, answerOnce(response[:cut])), startCounted(t, answerOnce(response[:cut]))}
		_, address := startProxy(t, testOptions(backends[0].url, backends[1].url))
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
