package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// flood writes zeros until that fails, and counts them.
func flood(w io.Writer, sent *atomic.Int64) {
	for piece := make([]byte, 32<<10); ; {
		n, err := w.Write(piece)
		if sent.Add(int64(n)); err != nil {
			return
		}
	}
}

// untilBlocked waits for the writer behind the count to be held back: the count
// stands still for a while. What is then under way is returned.
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

// heapInUse is what is reachable, once two collections have emptied the pools.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// mayHold bounds the memory that a body under way takes, its buffers and those of
// the test among it.
const mayHold = 512 << 10

// TestSlowReaderHoldsTheBackendBack: what the client does not read, the backend cannot send, and
// the balancer does not store it.
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

// TestPiecesFlowToOldClients: HTTP/1.0 gets each piece at once as well.
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
