package proxy

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sendGETs sends requests over some connections and returns how many were answered
// 200, and how many got no answer at all.
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
	if made != attempts-requests || denied < requests/2 {
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d, of %d attempts for %d requests", made, denied, attempts, requests)
	}
}

// TestNothingIsDeniedWhereNothingIsLeft: with one backend there is no retry to deny.
func TestNothingIsDeniedWhereNothingIsLeft(t *testing.T) {
	b := startCounted(t, func(conn net.Conn) { reset(conn) })
	p, address := startProxy(t, testOptions(b.url))
	sendGETs(t, address, 1, 30) // the budget has 10 retries a second, whatever the load
	if made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total"); made != 0 || denied != 0 {
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d", made, denied)
	}
}

// TestRefusedIsAlwaysTriedElsewhere has most backends refuse: far more retries
// than the budget holds, none of which it has a say in.
func TestRefusedIsAlwaysTriedElsewhere(t *testing.T) {
	const requests = 500
	p, address := startProxy(t, testOptions("http://"+closedPort(t), "http://"+closedPort(t),
		startRawBackend(t, answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))))
	if ok, _ := sendGETs(t, address, 10, requests); ok != requests {
		t.Errorf("%d of %d requests were answered 200", ok, requests)
	}
	if made, denied := counter(t, p, "lb_retries_total"), counter(t, p, "lb_retries_denied_total"); made < requests/2 || denied != 0 {
		t.Errorf("lb_retries_total is %d, lb_retries_denied_total %d", made, denied)
	}
}

// TestOneBackendDiesUnderLoad has one of eight backends reset all its connections
// at one moment, go on accepting and reset every further one: the budget has room
// for all that meets it.
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
