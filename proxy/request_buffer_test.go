package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

// uploadOf is a request with a body of this size, of which sent bytes come at once.
func uploadOf(method string, size, sent int, more ...string) string {
	return withHost(append([]string{method + " / HTTP/1.1", fmt.Sprintf("Content-Length: %d", size)}, more...)...) + strings.Repeat("b", sent)
}

// TestRequestBuffer: a body of known length up to request_buffer is read before its backend is asked,
// if server.buffers has room; a longer one is streamed. What a backend gets is the same.
func TestRequestBuffer(t *testing.T) {
	const size = 48 << 10
	for _, test := range []struct {
		name            string
		size            int
		buffer, buffers upstream.Size
		expects         bool
		buffered        bool
	}{
		{"by default", size, 64 << 10, 256 << 20, false, true},
		{"100 Continue", size, 64 << 10, 256 << 20, true, true},
		{"as long as allowed", size, size, 2 * size, false, true},
		{"larger than a buffer", 200 << 10, 1 << 20, 1 << 20, false, true},
		{"too long", size + 1, size, 256 << 20, false, false},
		{"no memory left", size, 64 << 10, size - 1, false, false},
		{"off", size, 0, 256 << 20, false, false},
		{"small, and off", 16 << 10, 0, 0, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Bool
			got := make(chan string, 1)
			o := testOptions(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Store(true)
				body, _ := io.ReadAll(r.Body)
				got <- string(body)
			}))
			o.Server.Buffers = test.buffers
			pool := o.Pools["main"]
			pool.RequestBuffer = test.buffer
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			for range 2 { // the second finds what the first has given back
				asked.Store(false)
				w := newWire(t, address)
				if test.expects {
					w.send(uploadOf("POST", test.size, 0, "Expect: 100-continue"))
					told := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
					if _, err := io.ReadFull(w.in, told); err != nil || !bytes.HasPrefix(told, []byte("HTTP/1.1 100")) {
						t.Fatalf("got %q, %v", told, err)
					}
					w.send(strings.Repeat("b", test.size/2))
				} else {
					w.send(uploadOf("POST", test.size, test.size/2))
				}
				time.Sleep(100 * time.Millisecond)
				if asked.Load() == test.buffered {
					t.Errorf("half of the body has come: the backend is asked: %v", asked.Load())
				}
				w.send(strings.Repeat("b", test.size-test.size/2))
				if answer := w.receive("POST"); answer.StatusCode != 200 {
					t.Fatalf("got %d", answer.StatusCode)
				}
				if body := <-got; body != strings.Repeat("b", test.size) {
					t.Errorf("the backend got %d bytes, want %d", len(body), test.size)
				}
			}
		})
	}
}

// bufferingOptions are those of a pool that buffers requests as it does by default.
func bufferingOptions(backends ...string) Options {
	o := testOptions(backends...)
	pool := o.Pools["main"]
	pool.RequestBuffer = upstream.DefaultPoolConfig().RequestBuffer
	o.Pools["main"] = pool
	return o
}

// TestTricklingUploads: 100 slow uploads of 48 KiB hold none of a backend's 4 connections, so that
// another client is served; memory that they took is free once they are gone.
func TestTricklingUploads(t *testing.T) {
	o := bufferingOptions(startBackend(t, mirror))
	o.Pools["main"].Backends[0].MaxConnections = 4
	o.Server.Buffers = 101 * 48 << 10
	p, address := startProxy(t, o)
	var slow []*rawClient
	for range 100 {
		w := newWire(t, address)
		w.send(uploadOf("POST", 48<<10, 100))
		slow = append(slow, w)
	}
	eventually(t, "all to have begun", func() bool { return requestsUnderWay(p) == 100 })
	for range 20 {
		w := newWire(t, address)
		w.send(uploadOf("POST", 48<<10, 48<<10))
		if got := w.receive("POST"); got.StatusCode != 200 {
			t.Fatalf("another client got %d", got.StatusCode)
		}
	}
	for _, w := range slow {
		_ = w.Close()
	}
	eventually(t, "all to have ended", func() bool { return requestsUnderWay(p) == 0 })
}

// TestBufferedBodyIsSentAgain: after a backend that closes the connection, a PUT goes to another with
// its whole body; a POST does not.
func TestBufferedBodyIsSentAgain(t *testing.T) {
	body := make(chan int, 2)
	good := startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body <- len(b)
	})
	_, address := startProxy(t, bufferingOptions(startRawBackend(t, closesAfterRequest), good))
	w := newWire(t, address)
	w.send(uploadOf("PUT", 60<<10, 60<<10))
	if got := w.receive("PUT"); got.StatusCode != 200 || <-body != 60<<10 {
		t.Errorf("PUT: got %d", got.StatusCode)
	}
	statuses := map[int]bool{}
	for range 2 { // one of them meets the other backend
		w = newWire(t, address)
		w.send(uploadOf("POST", 60<<10, 60<<10))
		statuses[w.receive("POST").StatusCode] = true
	}
	if !statuses[200] || !statuses[502] {
		t.Errorf("POST: got %v", statuses)
	}
}

// TestBufferedBodyIsPending: a request whose body was read before counts as one that waits for a
// header, as one without a body does: its client holds up nothing.
func TestBufferedBodyIsPending(t *testing.T) {
	entered, release := make(chan bool, 1), make(chan bool)
	o := bufferingOptions(startBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		entered <- true
		<-release
	}))
	o.Pools["main"].Backends[0].MaxPending = 1
	_, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	first.send(uploadOf("POST", 48<<10, 48<<10))
	<-entered
	second.send(uploadOf("POST", 48<<10, 48<<10))
	checkProblem(t, second.receive("POST"), 503, "overloaded", "http://-:-")
	close(release)
	if got := first.receive("POST"); got.StatusCode != 200 {
		t.Errorf("the first got %d", got.StatusCode)
	}
}
