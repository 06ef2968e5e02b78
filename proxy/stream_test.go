package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestBothDirectionsAtOnce has the backend answer while the request is still
// being sent: if either way waited for the other, the buffers between would fill.
func TestBothDirectionsAtOnce(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", r.ContentLength)
		_, _ = io.Copy(conn, r.Body)
	})))
	body := randomBytes(10 << 20)
	w := newWire(t, address)
	go func() {
		fmt.Fprintf(w, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", len(body))
		_, _ = w.Write(body)
	}()
	if got := w.receive("PUT"); !bytes.Equal(got.body, body) {
		t.Errorf("%d bytes came back, not the %d sent", len(got.body), len(body))
	}
}

// TestMemoryDoesNotGrowWithBodies streams a body up and one down, and looks at
// the heap while they flow. A proxy that held a body would show all of it.
func TestMemoryDoesNotGrowWithBodies(t *testing.T) {
	size := int64(64 << 20)
	if *long {
		size = 1 << 30
	}
	const mayUse = 16 << 20
	var heap, base uint64
	watch := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapSys-m.HeapReleased)
	}
	backend := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != size {
			panic(http.ErrAbortHandler)
		}
		block := make([]byte, 1<<20)
		for sent := int64(0); sent < size; sent += int64(len(block)) {
			_, _ = w.Write(block)
		}
	})
	_, address := startProxy(t, testOptions(backend))
	w := newWire(t, address)
	_ = w.SetDeadline(time.Now().Add(time.Minute))
	runtime.GC()
	watch()
	base = heap
	fmt.Fprintf(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
	block := make([]byte, 1<<20)
	for sent := int64(0); sent < size; sent += int64(len(block)) {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
		watch()
	}
	r, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	for {
		n, err := io.ReadFull(r.Body, block)
		got += int64(n)
		watch()
		if err != nil {
			break
		}
	}
	if got != size {
		t.Errorf("%d bytes came back, want %d", got, size)
	}
	if heap > base+mayUse {
		t.Errorf("the heap grew from %d to %d MiB for bodies of %d MiB", base>>20, heap>>20, size>>20)
	}
}

// TestEventsFlow has each event read by the client before the next is sent.
func TestEventsFlow(t *testing.T) {
	const event = "data: tick\n\n"
	for _, test := range []struct{ name, fields, format string }{
		{"chunked", "Transfer-Encoding: chunked\r\n", "c\r\n%s\r\n"},
		{"Content-Length", fmt.Sprintf("Content-Length: %d\r\n", 5*len(event)), "%s"},
		{"until close", "", "%s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := make(chan bool)
			_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				if _, err := readRequestHeader(bufio.NewReader(conn)); err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+test.fields+"\r\n")
				for range next {
					fmt.Fprintf(conn, test.format, event)
				}
				if test.name == "chunked" {
					_, _ = io.WriteString(conn, lastChunk)
				}
			})))
			w := newWire(t, address)
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			r, err := http.ReadResponse(w.in, nil) // before the first event
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(event))
			for range 5 {
				start := time.Now()
				next <- true
				if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != event {
					t.Fatalf("got %q, %v", got, err)
				}
				if took := time.Since(start); took > 50*time.Millisecond {
					t.Errorf("an event took %s", took)
				}
			}
			close(next)
			if rest, err := io.ReadAll(r.Body); err != nil || len(rest) > 0 {
				t.Errorf("after the last event: %q, %v", rest, err)
			}
		})
	}
}

// TestRequestChunksFlow has the backend read each chunk before the next is sent.
func TestRequestChunksFlow(t *testing.T) {
	got := make(chan string, 1)
	_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				return
			}
			got <- string(buf)
		}
	})))
	w := newWire(t, address)
	w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 5 {
		w.send("5;ext=\"v\"\r\nhello\r\n")
		select {
		case s := <-got:
			if s != "hello" {
				t.Errorf("got %q", s)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the chunk did not arrive")
		}
	}
	w.send("0\r\nX-Trailer: v\r\n\r\n")
	if got := w.receive("POST"); got.StatusCode != 200 {
		t.Errorf("got %d", got.StatusCode)
	}
}

// TestContinue covers Expect: 100-continue. The client hears 100 once its request
// is wanted and a backend is there for it, and never beside a refusal.
func TestContinue(t *testing.T) {
	for _, size := range []int{5, 100_000} {
		for _, chunks := range []bool{false, true} {
			t.Run(fmt.Sprint(size, " chunked: ", chunks), func(t *testing.T) {
				_, address := startProxy(t, testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Expect") != "" {
						t.Error("Expect came through to the backend, to which it was answered already")
					}
					mirror(w, r)
				})))
				body := randomBytes(size)
				framing, framed := fmt.Sprintf("Content-Length: %d\r\n\r\n", size), string(body)
				if chunks {
					framing, framed = "Transfer-Encoding: chunked\r\n\r\n", inChunks(body)
				}
				w := newWire(t, address)
				for range 3 {
					w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n" + framing)
					line, err := readRequestHeader(w.in)
					if line != "HTTP/1.1 100 Continue\r\n\r\n" {
						t.Fatalf("got %q, %v, want 100 Continue", line, err)
					}
					w.send(framed)
					if got := w.receive("POST"); got.StatusCode != 200 || !bytes.Equal(got.body, body) {
						t.Fatalf("got %d and %d bytes", got.StatusCode, len(got.body))
					}
				}
			})
		}
	}
}

func TestNoContinue(t *testing.T) {
	working := startBackend(t, mirror)
	for _, test := range []struct {
		name, request string
		change        func(*Options)
		status        int
	}{
		{"limited", "Content-Length: 5\r\n\r\n", func(o *Options) { o.Limiter = limits(1, 0.001) }, 429},
		{"too large", "Content-Length: 500\r\n\r\n", func(o *Options) { o.Server.MaxBodySize = 100 }, 413},
		{"no backend", "Content-Length: 5\r\n\r\n", func(o *Options) { o.Pools = testOptions("http://" + closedPort(t)).Pools }, 502},
		{"no backend for a large body", "Content-Length: 500000\r\n\r\n", func(o *Options) { o.Pools = testOptions("http://" + closedPort(t)).Pools }, 502},
		{"bad request", "Content-Length: 5\r\nX_: \x01\r\n\r\n", func(*Options) {}, 400},
		{"has not waited", "Content-Length: 5\r\n\r\nhello", func(*Options) {}, 200},
		{"has no body", "\r\n", func(*Options) {}, 200},
		{"has no body, but its length", "Content-Length: 0\r\n\r\n", func(*Options) {}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(working)
			test.change(&o)
			_, address := startProxy(t, o)
			if o.Limiter != nil {
				talk(t, address, get("/"))
			}
			w := newWire(t, address)
			w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" + test.request)
			if got := w.receive("POST"); got.StatusCode != test.status {
				t.Errorf("got %d, want %d and nothing before it", got.StatusCode, test.status)
			}
		})
	}
}

// TestContinueComesFirst has backends that answer before they read the body: the
// 100 must not land behind or within their answer.
func TestContinueComesFirst(t *testing.T) {
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, conn)
	})))
	for range 200 {
		got := make([]byte, 4096)
		w := newWire(t, address)
		w.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 500000\r\n\r\n")
		n := 0
		for {
			m, err := w.Read(got[n:])
			if n += m; err != nil {
				break
			}
		}
		if s := string(got[:n]); !strings.HasPrefix(s, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403") || !strings.HasSuffix(s, "\r\n\r\nno") {
			t.Fatalf("got %q", s)
		}
		w.Close()
	}
}

// TestKeepAliveAfterChunkedUploads checks that a body sent in full does not cost
// the client its connection, nor the backend its own.
func TestKeepAliveAfterChunkedUploads(t *testing.T) {
	var dials atomic.Int32
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		dials.Add(1)
		in := bufio.NewReader(conn)
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})))
	w := newWire(t, address)
	for i := range 500 {
		w.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		if got := w.receive("POST"); got.Close {
			t.Fatalf("the connection ends after %d requests", i+1)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections to the backend, want 1", n)
	}
}
