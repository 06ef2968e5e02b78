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
	"time"
)

// counted is a backend that counts the requests it reads and then does something.
type counted struct {
	url      string
	requests atomic.Int32
}

func startCounted(t *testing.T, then func(conn net.Conn)) *counted {
	c := &counted{}
	c.url = startRawBackend(t, func(conn net.Conn) {
		if _, _, err := readRequest(bufio.NewReader(conn)); err == nil {
			c.requests.Add(1)
			then(conn)
		}
	})
	return c
}

func answerOnce(response string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, response) }
}

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

// TestUnansweredRequest has every backend read the request and leave without an
// answer. Only what may be done twice is sent twice.
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
		{"GET", 0, "", 16, 4}, // there are four backends
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

// TestIdleConnectionsThatEnd has a backend that closes idle connections, and
// pauses around the moment at which it does.
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

// closeWhenTold answers one request, and closes the connection when it is told to and
// then says so.
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

// TestPostAfterTheBackendClosed sends what must not be sent twice on a pool of
// connections that the backend has closed in the meantime.
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

// TestBackendClosesWhileTheBodyComes has the connection chosen end between the
// header of a request and its body.
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

// TestBackendKilledUnderLoad resets every connection of one backend of ten, and
// its listener, while clients send. Its answers are whole or absent, so that no
// request needs to fail.
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

// TestEarlyAnswerToAnUpload has the backend refuse a body of which it has read
// the beginning, and close.
func TestEarlyAnswerToAnUpload(t *testing.T) {
	for _, framing := range []string{"Content-Length: 10485760\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\na00000\r\n"} {
		b := startRawBackend(t, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 1<<20))
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")
		})
		_, address := startProxy(t, testOptions(b))
		for range 20 {
			w := newWire(t, address)
			go func() {
				_, _ = io.WriteString(w, "POST / HTTP/1.1\r\nHost: h\r\n"+framing)
				_, _ = w.Write(make([]byte, 10<<20))
			}()
			if got := w.receive("POST"); got.StatusCode != http.StatusRequestEntityTooLarge || string(got.body) != "too large" || !got.Close {
				t.Fatalf("got %d %q, close: %v", got.StatusCode, got.body, got.Close)
			}
			w.Close()
		}
	}
}
