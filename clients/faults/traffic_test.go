package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

const okBody = "ok"

// backend returns the URL of a backend, which ends with the test.
func backend(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, okBody) }))
	t.Cleanup(s.Close)
	return s.URL
}

// traffic sends requests at a bounded rate until it is stopped, and looks at each response. A
// request has failed if its response is none of 200, with the backend's body, and 429.
type traffic struct {
	stopped chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	took    []time.Duration // of the present phase
	failed  int             // since the start
	example string          // of a failure
}

// trafficFrom is the address of the traffic's client, which is not registered.
const trafficFrom = "127.0.2.1"

// startTraffic sends perSecond requests a second to each balancer. At the end of the test each of
// them must have succeeded.
func startTraffic(t *testing.T, perSecond int, all ...*instance) *traffic {
	t.Helper()
	f := &traffic{stopped: make(chan struct{})}
	const workers = 2
	for _, b := range all {
		for range workers {
			f.wg.Go(func() { f.send(b, time.Second*workers/time.Duration(perSecond)) })
		}
	}
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *traffic) send(b *instance, pause time.Duration) {
	ticks := time.NewTicker(pause)
	defer ticks.Stop()
	for {
		select {
		case <-f.stopped:
			return
		case <-ticks.C:
		}
		a, err := b.request(trafficFrom, "GET", b.proxy+"/", "")
		f.count(a, err)
	}
}

func (f *traffic) count(a answer, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took = append(f.took, a.took)
	if err == nil && (a.status == 429 || a.status == 200 && a.body == okBody) {
		return
	}
	if f.failed++; f.failed == 1 {
		f.example = fmt.Sprintf("%s, %v", a, err)
	}
}

// stop ends the traffic and checks its responses. A second call does nothing.
func (f *traffic) stop(t *testing.T) {
	t.Helper()
	select {
	case <-f.stopped:
		return
	default:
	}
	close(f.stopped)
	f.wg.Wait()
	if f.failed > 0 {
		t.Errorf("%d requests have failed; the first got %s", f.failed, f.example)
	}
}

// figures are the latencies of a phase.
type figures struct {
	count         int
	p50, p99, max time.Duration
}

// String has the form of a line of results.
func (f figures) String() string {
	return fmt.Sprintf("%d, p50 %s, p99 %s, max %s", f.count, f.p50.Round(10*time.Microsecond), f.p99.Round(10*time.Microsecond),
		f.max.Round(10*time.Microsecond))
}

// phase returns the figures since the last call, once there are enough to tell something.
func (f *traffic) phase(t *testing.T) figures {
	t.Helper()
	const enough = 20
	waitFor(t, "traffic", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.took) >= enough
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	took := f.took
	f.took = nil
	return figuresOf(took)
}

func figuresOf(took []time.Duration) figures {
	if len(took) == 0 {
		return figures{}
	}
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[min(len(took)-1, int(share*float64(len(took))))] }
	return figures{len(took), at(0.5), at(0.99), took[len(took)-1]}
}

// requireUnhurt checks the latencies of a phase in which PostgreSQL was away. The bounds lie above
// what a busy machine adds, and below any wait for PostgreSQL.
func requireUnhurt(t *testing.T, phase string, f figures) {
	t.Helper()
	t.Logf("traffic while %s: %s", phase, f)
	if f.p99 > time.Second || f.max > 1900*time.Millisecond {
		t.Errorf("while %s: requests took %s", phase, f)
	}
}

// TestTraffic checks that the traffic notices responses that are wrong or late.
func TestTraffic(t *testing.T) {
	answers := map[string]string{
		"good":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"limited": "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
		"body":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"status":  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"nothing": "",
	}
	for name, text := range answers {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = io.WriteString(conn, text)
				conn.Close()
			}
		}()
		b := &instance{proxy: "http://" + ln.Addr().String(), callers: map[string]*http.Client{}}
		f := startTraffic(t, 100, b)
		waitFor(t, "a request", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.took) > 0
		})
		close(f.stopped)
		f.wg.Wait()
		ln.Close()
		if bad := f.failed > 0; bad != (name != "good" && name != "limited") {
			t.Errorf("%s: %d requests have failed, the first with %s", name, f.failed, f.example)
		}
	}
	took := []time.Duration{}
	for i := range 200 {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	want := figures{200, 100 * time.Millisecond, 198 * time.Millisecond, 199 * time.Millisecond}
	if got := figuresOf(took); got != want {
		t.Errorf("the figures are %s, want %s", got, want)
	}
}
