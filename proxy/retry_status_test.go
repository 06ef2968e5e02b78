package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

func TestMayRepeat(t *testing.T) {
	always := []reason.Code{reason.ConnectFailed, reason.ConnectTimeout, reason.Overloaded, reason.BackendReset, reason.BackendOut}
	for why := range reason.Count {
		want := false
		for _, a := range always {
			want = want || a == why
		}
		if got := mayRepeat(why, false); got != want {
			t.Errorf("%s (%d): %v", why, why, got)
		}
		if got := mayRepeat(why, true); got != (want || why == reason.ResponseTimeout) {
			t.Errorf("%s (%d), with retry.timeouts: %v", why, why, got)
		}
	}
}

// sameAnswers are backends that all answer in the same way, and count the requests and the
// connections.
type sameAnswers struct {
	urls            []string
	requests, dials atomic.Int32
}

func startSameAnswers(t *testing.T, n int, answer string) *sameAnswers {
	s := new(sameAnswers)
	for range n {
		s.urls = append(s.urls, startRawBackend(t, func(conn net.Conn) {
			s.dials.Add(1)
			for in := bufio.NewReader(conn); ; {
				if _, _, err := readRequest(in); err != nil {
					return
				}
				s.requests.Add(1)
				_, _ = io.WriteString(conn, answer)
			}
		}))
	}
	return s
}

func withRetry(o *Options, retry upstream.RetryConfig) {
	pool := o.Pools["main"]
	pool.Retry = retry
	pool.Ejection.Failures = 0
	o.Pools["main"] = pool
}

// TestRetriedStatuses has four backends answer with the same status, and counts those that are
// asked.
func TestRetriedStatuses(t *testing.T) {
	const unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nlast"
	both := []int{502, 503}
	for _, test := range []struct {
		name, request string
		retry         upstream.RetryConfig
		answer        string
		status        int
		want          int32
	}{
		{"GET", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 3},
		{"HEAD", "HEAD / HTTP/1.1", upstream.RetryConfig{Attempts: 2, Statuses: both}, "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\n", 503, 2},
		{"one attempt", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 1, Statuses: both}, unavailable, 503, 1},
		{"all backends", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 4, Statuses: both}, unavailable, 503, 4},
		{"not listed", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: []int{502, 504}}, unavailable, 503, 1},
		{"none is listed", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3}, unavailable, 503, 1},
		{"a success", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: both}, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast", 200, 1},
		{"POST", "POST / HTTP/1.1\r\nContent-Length: 2", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 1},
		{"POST with a key", "POST / HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Length: 2", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 1},
		{"POST with a key that is heeded", "POST / HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Length: 2", upstream.RetryConfig{Attempts: 3, Statuses: both, IdempotencyKey: true}, unavailable, 503, 3},
		{"PUT", "PUT / HTTP/1.1\r\nContent-Length: 10", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 3},
		{"PUT that streams", "PUT / HTTP/1.1\r\nContent-Length: 40000", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 3},
		{"PUT that was not kept", "PUT / HTTP/1.1\r\nContent-Length: 100000", upstream.RetryConfig{Attempts: 3, Statuses: both}, unavailable, 503, 1},
		{"in chunks", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: both}, "HTTP/1.1 502 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlast\r\n0\r\n\r\n", 502, 3},
		{"until close", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: both}, "HTTP/1.1 503 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast", 503, 3},
		{"behind an interim response", "GET / HTTP/1.1", upstream.RetryConfig{Attempts: 3, Statuses: both}, "HTTP/1.1 103 Early Hints\r\n\r\n" + unavailable, 503, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := startSameAnswers(t, 4, test.answer)
			o := testOptions(b.urls...)
			withRetry(&o, test.retry)
			p, address := startProxy(t, o)
			w := newWire(t, address)
			length := 0
			if _, after, ok := strings.Cut(test.request, "Content-Length: "); ok {
				_, _ = fmt.Sscan(after, &length)
			}
			w.send(test.request + "\r\nHost: h\r\n\r\n" + strings.Repeat("b", length))
			method, _, _ := strings.Cut(test.request, " ")
			got := w.receive(method)
			if got.StatusCode != test.status || method != "HEAD" && string(got.body) != "last" {
				t.Errorf("got %d %q", got.StatusCode, got.body)
			}
			if n := b.requests.Load(); n != test.want {
				t.Errorf("%d requests arrived, want %d", n, test.want)
			}
			if n := metric(p, `lb_retries_total{pool="main"}`); n != fmt.Sprint(test.want-1) {
				t.Errorf("lb_retries_total is %s, want %d", n, test.want-1)
			}
			waitIdle(t, p)
		})
	}
}

// TestRetriedStatusSucceeds elsewhere: the client hears nothing of the first backend, whose
// connection serves on.
func TestRetriedStatusSucceeds(t *testing.T) {
	failing := startSameAnswers(t, 1, "HTTP/1.1 503 No\r\nX-From: failing\r\nContent-Length: 3\r\n\r\nbad")
	o := testOptions(failing.urls[0], startBackend(t, mirror))
	withRetry(&o, upstream.RetryConfig{Attempts: 2, Statuses: []int{503}})
	p, address := startProxy(t, o)
	w := newWire(t, address)
	for range 10 {
		w.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
		if got := w.receive("PUT"); got.StatusCode != 200 || string(got.body) != "hello" || got.Header.Get("X-From") != "" {
			t.Errorf("got %d %q %v", got.StatusCode, got.body, got.Header)
		}
	}
	if requests, dials := failing.requests.Load(), failing.dials.Load(); requests < 5 || dials != 1 {
		t.Errorf("%d requests came to the failing backend on %d connections, want at least 5 on one", requests, dials)
	}
	if n := metric(p, attemptsAt(failing.urls[0], 503)); n != fmt.Sprint(failing.requests.Load()) {
		t.Errorf("%s of its answers were counted", n)
	}
	mustHaveNoErrors(t, p)
}

// TestRetriedStatusWhereTheOthersAreFull: the client gets the answer that has come.
func TestRetriedStatusWhereTheOthersAreFull(t *testing.T) {
	failing := startSameAnswers(t, 1, "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad")
	entered, release := make(chan bool), make(chan bool)
	o := testOptions(startHoldingBackend(t, entered, release), failing.urls[0])
	withRetry(&o, upstream.RetryConfig{Attempts: 2, Statuses: []int{503}})
	o.Pools["main"].Backends[0].MaxConnections = 1
	p, address := startProxy(t, o)
	first := newWire(t, address)
	first.send(get("/"))
	<-entered
	w := newWire(t, address)
	for range 5 {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); got.StatusCode != 503 || string(got.body) != "bad" {
			t.Errorf("got %d %q", got.StatusCode, got.body)
		}
	}
	if n := counter(t, p, "lb_retries_total"); n > 1 { // the first request may have met both
		t.Errorf("lb_retries_total is %d", n)
	}
	release <- true
	if got := first.receive("GET"); got.StatusCode != 200 {
		t.Errorf("got %d", got.StatusCode)
	}
}

// TestRetriedStatusWithinTheBudget: beyond it the client gets the backend's answer.
func TestRetriedStatusWithinTheBudget(t *testing.T) {
	const requests = 200
	b := startSameAnswers(t, 2, "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad")
	o := testOptions(b.urls...)
	withRetry(&o, upstream.RetryConfig{Attempts: 2, Statuses: []int{503}})
	p, address := startProxy(t, o)
	w := newWire(t, address)
	start := time.Now()
	for range requests {
		w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := w.receive("GET"); got.StatusCode != 503 || string(got.body) != "bad" {
			t.Fatalf("got %d %q", got.StatusCode, got.body)
		}
	}
	seconds := int(time.Since(start)/time.Second) + 2
	if made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total"); made > requests/5+10*seconds || made+denied != requests {
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d", made, denied)
	}
}

// TestRetriedTimeouts sends requests to a backend that does not answer and one that does.
func TestRetriedTimeouts(t *testing.T) {
	for _, test := range []struct {
		name, request string
		timeouts      bool
		status        int
	}{
		{"off", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, 504},
		{"GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", true, 200},
		{"POST", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", true, 504},
		{"PUT", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", true, 200},
		{"PUT that streams", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(silentBackend(t), startBackend(t, mirror))
			withRetry(&o, upstream.RetryConfig{Attempts: 2, Timeouts: test.timeouts})
			setResponseHeader(&o, 100*time.Millisecond)
			_, address := startProxy(t, o)
			w := newWire(t, address)
			worst := 200
			for range 2 { // one of them meets the silent backend first
				w.send(test.request)
				method, _, _ := strings.Cut(test.request, " ")
				got := w.receive(method)
				worst = max(worst, got.StatusCode)
			}
			if worst != test.status {
				t.Errorf("got %d, want %d", worst, test.status)
			}
		})
	}
}
