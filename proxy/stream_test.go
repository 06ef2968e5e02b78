package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestBothDirectionsAtOnce has the backend answer while the request is still being sent: if either
// way waited for the other, the buffers between would fill.
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

// TestMemoryDoesNotGrowWithBodies streams a body up and one down, and looks at the heap while they
// flow. A proxy that held a body would show all of it.
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

// flood writes zeros until that fails, and counts them.
func flood(w io.Writer, sent *atomic.Int64) {
	for piece := make([]byte, 32<<10); ; {
		n, err := w.Write(piece)
		if sent.Add(int64(n)); err != nil {
			return
		}
	}
}

// untilBlocked waits for the writer behind the count to be held back: the count stands still for a
// while. What is then under way is returned.
func untilBlocked(t *testing.T, sent *atomic.Int64) int64 {
	t.Helper()
	const most, still = 64 << 20, 100 * time.Millisecond // kernels hold some MiB in each socket
	last, since := int64(0), time.Now()
	eventually(t, "the writer to be held back", func() bool {
		now := sent.Load()
		if now > most {
			t.Fatalf("%d MiB have been taken without being read", now>>20)
		}
		if now != last {
			last, since = now, time.Now()
		}
		return now > 0 && time.Since(since) > still
	})
	return last
}

// mayHold bounds the memory that a body under way takes, its buffers and those of the test among
// it.
const mayHold = 512 << 10

// TestSlowReaderHoldsTheBackendBack checks that the backend cannot send what the client does not
// read, and that the balancer does not store it.
func TestSlowReaderHoldsTheBackendBack(t *testing.T) {
	var sent atomic.Int64
	_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
		if _, err := readRequestHeader(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			flood(conn, &sent)
		}
	})))
	w := newWire(t, address)
	before := heapInUse()
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	under := untilBlocked(t, &sent)
	if grown := heapInUse() - before; grown > mayHold {
		t.Errorf("the heap grew by %d KiB while %d MiB were under way", grown>>10, under>>20)
	}
	if _, err := io.CopyN(io.Discard, r.Body, under); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the backend to send on", func() bool { return sent.Load() > under })
}

// TestSlowBackendHoldsTheClientBack is the same for uploads.
func TestSlowBackendHoldsTheClientBack(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1099511627776\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n10000000000\r\n"} {
		read, entered := make(chan int64), make(chan bool)
		_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			if _, err := readRequestHeader(in); err == nil {
				entered <- true
				_, _ = io.CopyN(io.Discard, in, <-read)
				<-read
			}
		})))
		w := newWire(t, address)
		before := heapInUse()
		w.send("POST / HTTP/1.1\r\nHost: h\r\n" + framing)
		<-entered
		var sent atomic.Int64
		ended := make(chan struct{})
		go func() { flood(w, &sent); close(ended) }()
		under := untilBlocked(t, &sent)
		if grown := heapInUse() - before; grown > mayHold {
			t.Errorf("the heap grew by %d KiB while %d MiB were under way", grown>>10, under>>20)
		}
		read <- under
		eventually(t, "the client to send on", func() bool { return sent.Load() > under })
		close(read)
		<-ended
	}
}

// TestPiecesFlowToOldClients checks that a client of HTTP/1.0 gets each piece at once, too.
func TestPiecesFlowToOldClients(t *testing.T) {
	for _, test := range []struct{ name, fields, format string }{
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n", "5\r\n%s\r\n"},
		{"Content-Length", "Content-Length: 25\r\n\r\n", "%s"},
		{"until close", "\r\n", "%s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := make(chan bool)
			_, address := startProxy(t, testOptions(startRawBackend(t, func(conn net.Conn) {
				_, _ = readRequestHeader(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+test.fields)
				for range next {
					fmt.Fprintf(conn, test.format, "piece")
				}
			})))
			w := newWire(t, address)
			w.send("GET / HTTP/1.0\r\n\r\n")
			if _, err := readRequestHeader(w.in); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				start := time.Now()
				next <- true
				got := make([]byte, 5)
				if _, err := io.ReadFull(w.in, got); err != nil || string(got) != "piece" {
					t.Fatalf("got %q, %v", got, err)
				}
				if took := time.Since(start); took > 50*time.Millisecond {
					t.Errorf("a piece took %s", took)
				}
			}
			close(next)
		})
	}
}

// countedConn counts the writes on a connection. It is no syscall.Conn: the proxy writes to it as
// to any net.Conn.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// countedListener hands out connections whose writes are counted together.
type countedListener struct {
	net.Listener
	writes atomic.Int32
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countedConn{conn, &l.writes}, err
}

// TestSmallResponseIsOneWrite checks that a small response leaves in one write: fasthttp would
// flush the header and then each chunk.
func TestSmallResponseIsOneWrite(t *testing.T) {
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"garbage\r\n\r\n",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &countedListener{Listener: ln}
		startProxyOn(t, testOptions(startRawBackend(t, answerAll(response))), l)
		w := newWire(t, ln.Addr().String())
		for i := range int32(3) {
			w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			w.receive("GET")
			if n := l.writes.Load(); n != i+1 {
				t.Errorf("%.20q: %d writes for %d responses", response, n, i+1)
			}
		}
	}
}
