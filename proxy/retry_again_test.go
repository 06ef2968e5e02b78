package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

func TestPauseBefore(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		repeats     int
		least, most time.Duration
	}{
		{0, 25 * ms, 37500 * time.Microsecond},
		{1, 50 * ms, 75 * ms},
		{2, 100 * ms, 150 * ms},
		{5, 800 * ms, 1200 * ms},
		{6, 800 * ms, 1200 * ms},
		{1000, 800 * ms, 1200 * ms},
	} {
		if least, most := pauseBefore(test.repeats, 0), pauseBefore(test.repeats, 1); least != test.least || most != test.most {
			t.Errorf("repetition %d: %s to %s, want %s to %s", test.repeats, least, most, test.least, test.most)
		}
	}
}

func TestRepeatsHere(t *testing.T) {
	for why := range reason.Count {
		want := why == reason.ConnectFailed || why == reason.BackendReset || why == reason.StatusRefused
		if got := repeatsHere(why); got != want {
			t.Errorf("%s (%d): %v", why, why, got)
		}
	}
}

// TestOnlyBackendIsTriedAgain after pauses, where the request may be sent twice.
func TestOnlyBackendIsTriedAgain(t *testing.T) {
	const ok, unavailable = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad"
	for _, test := range []struct {
		name, method string
		fails        int32  // requests that fail
		failure      string // the answer to them; "": the connection ends
		retry        upstream.RetryConfig
		status       int
		want         int32 // requests that arrive
		pause        time.Duration
	}{
		{"GET", "GET", 1, "", upstream.RetryConfig{Attempts: 3}, 200, 2, 25 * time.Millisecond},
		{"GET, twice", "GET", 2, "", upstream.RetryConfig{Attempts: 3}, 200, 3, 75 * time.Millisecond},
		{"GET, too often", "GET", 3, "", upstream.RetryConfig{Attempts: 3}, 502, 3, 75 * time.Millisecond},
		{"GET, one attempt", "GET", 1, "", upstream.RetryConfig{Attempts: 1}, 502, 1, 0},
		{"POST", "POST", 1, "", upstream.RetryConfig{Attempts: 3}, 502, 1, 0},
		{"a status", "GET", 1, unavailable, upstream.RetryConfig{Attempts: 3, Statuses: []int{503}}, 200, 2, 25 * time.Millisecond},
		{"a status, too often", "GET", 9, unavailable, upstream.RetryConfig{Attempts: 2, Statuses: []int{503}}, 503, 2, 25 * time.Millisecond},
		{"a status that is not listed", "GET", 1, unavailable, upstream.RetryConfig{Attempts: 3}, 503, 1, 0},
		{"an invalid response", "GET", 1, "nonsense\r\n\r\n", upstream.RetryConfig{Attempts: 3}, 502, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			o := testOptions(startRawBackend(t, func(conn net.Conn) {
				for in := bufio.NewReader(conn); ; {
					if _, _, err := readRequest(in); err != nil {
						return
					}
					switch n := requests.Add(1); {
					case n > test.fails:
						_, _ = io.WriteString(conn, ok)
					case test.failure == "":
						return
					default:
						_, _ = io.WriteString(conn, test.failure)
					}
				}
			}))
			withRetry(&o, test.retry)
			_, address := startProxy(t, o)
			w := newWire(t, address)
			began := time.Now()
			w.send(test.method + " / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			if got := w.receive(test.method); got.StatusCode != test.status {
				t.Errorf("got %d %q, want %d", got.StatusCode, got.body, test.status)
			}
			if took := time.Since(began); took < test.pause {
				t.Errorf("it took %s, without the pauses of %s", took, test.pause)
			}
			if n := requests.Load(); n != test.want {
				t.Errorf("%d requests arrived, want %d", n, test.want)
			}
		})
	}
}

// TestOnlyBackendRestarts refuses connections for a while. A POST of which nothing was sent waits
// too.
func TestOnlyBackendRestarts(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		fd, port := bind(t)
		o := testOptions("http://" + port)
		withRetry(&o, upstream.RetryConfig{Attempts: 16})
		_, address := startProxy(t, o)
		go func() {
			time.Sleep(60 * time.Millisecond) // two attempts or more are refused
			if err := syscall.Listen(fd, 16); err != nil {
				t.Error(err)
			}
			own, err := syscall.Dup(fd) // bind closes fd
			if err != nil {
				t.Error(err)
				return
			}
			file := os.NewFile(uintptr(own), "")
			defer file.Close()
			ln, err := net.FileListener(file)
			if err != nil {
				t.Error(err)
				return
			}
			serveRaw(t, ln, readAndAnswer)
		}()
		w := newWire(t, address)
		w.send(fmt.Sprintf("%s / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", method))
		if got := w.receive(method); got.StatusCode != 200 || !strings.Contains(string(got.body), "ok") {
			t.Errorf("%s: got %d %q", method, got.StatusCode, got.body)
		}
	}
}

// TestFullBackendIsNotTriedAgain: what waits for a place is for the queue.
func TestFullBackendIsNotTriedAgain(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release))
	o.Pools["main"].Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	first, second := newWire(t, address), newWire(t, address)
	first.send(withHost("GET / HTTP/1.1"))
	<-entered
	second.send(withHost("GET / HTTP/1.1"))
	checkProblem(t, second.receive("GET"), 503, "overloaded", "http://-:-")
	if n := metric(p, `lb_retries_total{pool="main"}`); n != "0" {
		t.Errorf("lb_retries_total is %s", n)
	}
	release <- true
	first.receive("GET")
}
