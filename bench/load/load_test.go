package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are small and quick; tests change what they are about.
func options(url string) Options {
	return Options{URL: url, Method: "GET", Connections: 4, Requests: 100, Timeout: 5 * time.Second, KeepAlive: true}
}

func run(t *testing.T, o Options) *Result {
	t.Helper()
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return result
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// serveRaw hands each connection to handle, which answers as it likes. The connection is closed
// after it.
func serveRaw(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return "http://" + ln.Addr().String() + "/"
}

// answerAll answers every request of the connection with the same bytes.
func answerAll(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}
}

func TestRunCountsExactly(t *testing.T) {
	var served atomic.Int64
	codes := []int{200, 429, 500}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(codes[(served.Add(1)-1)%3])
	})
	for _, connections := range []int{1, 7, 64} {
		for _, keepAlive := range []bool{true, false} {
			served.Store(0)
			o := options(url)
			o.Connections, o.KeepAlive, o.Requests = connections, keepAlive, 3000/10
			r := run(t, o)
			if served.Load() != o.Requests || r.Responses != o.Requests || r.Failed != 0 || r.Latency.TotalCount() != o.Requests {
				t.Errorf("%d connections, keepalive %v: served %d, responses %d, latencies %d, failures %v; want %d, no failures",
					connections, keepAlive, served.Load(), r.Responses, r.Latency.TotalCount(), r.Failures, o.Requests)
			}
			if len(r.Statuses) != 3 {
				t.Fatalf("statuses %+v, want %v", r.Statuses, codes)
			}
			for i, s := range r.Statuses {
				if s.Code != codes[i] || s.Count != o.Requests/3 {
					t.Errorf("status %d counted %d times, want %d counted %d times", s.Code, s.Count, codes[i], o.Requests/3)
				}
			}
			wantConnects := int64(connections)
			if !keepAlive {
				wantConnects = o.Requests
			}
			if got := r.Connect.TotalCount(); got != wantConnects {
				t.Errorf("keepalive %v: %d connects, want %d", keepAlive, got, wantConnects)
			}
			var inIntervals int64
			for _, i := range r.Intervals {
				inIntervals += i.Latency.TotalCount()
			}
			if inIntervals != o.Requests {
				t.Errorf("intervals hold %d responses, want %d", inIntervals, o.Requests)
			}
		}
	}
}

func TestRunReadsEveryFraming(t *testing.T) {
	tests := []struct{ name, method, answer string }{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		{"empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n"},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{"hints", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(serveRaw(t, answerAll(tt.answer)))
			o.Method = tt.method
			r := run(t, o)
			if r.Responses != o.Requests || r.Failed != 0 {
				t.Errorf("%d responses, failures %+v; want %d, none", r.Responses, r.Failures, o.Requests)
			}
			if want := o.Requests * int64(len(tt.answer)); r.BytesRead != want {
				t.Errorf("read %d bytes, want %d", r.BytesRead, want)
			}
		})
	}
	t.Run("until close", func(t *testing.T) {
		o := options(serveRaw(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nhello")
			}
		}))
		if r := run(t, o); r.Responses != o.Requests || r.Failed != 0 {
			t.Errorf("%d responses, failures %+v; want %d, none", r.Responses, r.Failures, o.Requests)
		}
	})
}

func TestRunSendsTheRequest(t *testing.T) {
	type seen struct {
		line, host, agent, custom string
		length, read              int64
	}
	var mu sync.Mutex
	var got seen
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = seen{r.Method + " " + r.RequestURI, r.Host, r.UserAgent(), r.Header.Get("X-Api-Key"), r.ContentLength, n}
	})
	host := strings.TrimPrefix(url, "http://")
	tests := []struct {
		name   string
		change func(*Options)
		want   seen
	}{
		{"plain", func(o *Options) {}, seen{"GET /a%2Fb?x=1", host, userAgent, "", 0, 0}},
		{"headers", func(o *Options) { o.Headers = []string{"Host: api.example.com", "X-API-Key:k", "User-Agent: me"} },
			seen{"GET /a%2Fb?x=1", "api.example.com", "me", "k", 0, 0}},
		{"body", func(o *Options) { o.Method, o.Body = "POST", "hello" }, seen{"POST /a%2Fb?x=1", host, userAgent, "", 5, 5}},
		{"small size", func(o *Options) { o.Method, o.BodySize = "PUT", 1000 }, seen{"PUT /a%2Fb?x=1", host, userAgent, "", 1000, 1000}},
		{"big size", func(o *Options) { o.Method, o.BodySize = "PUT", 3<<20+1 },
			seen{"PUT /a%2Fb?x=1", host, userAgent, "", 3<<20 + 1, 3<<20 + 1}},
		{"empty post", func(o *Options) { o.Method = "POST" }, seen{"POST /a%2Fb?x=1", host, userAgent, "", 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(url + "/a%2Fb?x=1")
			o.Requests, o.Connections = 3, 1
			tt.change(&o)
			if r := run(t, o); r.Responses != 3 || r.BytesSent < 3*tt.want.length {
				t.Errorf("%d responses, %d bytes sent, failures %+v", r.Responses, r.BytesSent, r.Failures)
			}
			mu.Lock()
			defer mu.Unlock()
			if got != tt.want {
				t.Errorf("server saw %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRunAcrossLocalhost(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // localhost may be ::1 first, where nothing listens
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if r := run(t, options("http://localhost:"+port)); r.Responses != 100 || r.Statuses[0].Code != 404 {
		t.Errorf("responses %d, statuses %+v; want 100 times 404", r.Responses, r.Statuses)
	}
}

// A stall must show in the percentiles in full: every request that was due while it lasted has
// waited.
func TestOpenLoopShowsTheStall(t *testing.T) {
	const stall = 400 * time.Millisecond
	load := func(rate float64) *Result {
		var served atomic.Int64
		var gate sync.RWMutex
		url := serve(t, func(http.ResponseWriter, *http.Request) {
			if served.Add(1) == 100 {
				gate.Lock()
				defer gate.Unlock()
				<-time.After(stall) // all others wait behind the one
				return
			}
			gate.RLock()
			defer gate.RUnlock()
		})
		o := options(url)
		o.Rate, o.Requests = rate, 500
		return run(t, o)
	}
	open := load(500) // 1 s; about 200 of 500 requests are due in the stall
	if p90 := time.Duration(open.Latency.ValueAtQuantile(90)) * time.Microsecond; p90 < stall/4 {
		t.Errorf("open loop: p90 is %s, want above %s: the waiting is not counted", p90, stall/4)
	}
	if top := time.Duration(open.Latency.Max()) * time.Microsecond; top < stall*9/10 || top > 3*stall {
		t.Errorf("open loop: max is %s, want about %s", top, stall)
	}
	if open.Responses != 500 || open.Unsent != 0 {
		t.Errorf("open loop: %d responses, %d unsent; want 500, 0", open.Responses, open.Unsent)
	}
	if open.Elapsed < 990*time.Millisecond {
		t.Errorf("open loop: 500 requests at 500/s took %s, want 1s or a little more", open.Elapsed)
	}
	closed := load(0) // the same stall touches but one request per connection
	if p90 := time.Duration(closed.Latency.ValueAtQuantile(90)) * time.Microsecond; p90 > stall/4 {
		t.Errorf("closed loop: p90 is %s, want below %s", p90, stall/4)
	}
}

func TestOpenLoopReportsUnsent(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) { <-time.After(100 * time.Millisecond) })
	o := options(url)
	o.Connections, o.Requests, o.Rate, o.Duration = 1, 0, 100, 500*time.Millisecond
	r := run(t, o) // 50 are due, one connection does 10 a second
	if r.Unsent == 0 || r.Responses+r.Unsent != 50 {
		t.Errorf("%d responses, %d unsent; want 50 together, and some unsent", r.Responses, r.Unsent)
	}
}

func TestRunEndsAfterDuration(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	o := options(url)
	o.Requests, o.Duration = 0, 200*time.Millisecond
	var calls atomic.Int64
	o.Progress, o.ProgressInterval = func(p Progress) { calls.Add(1) }, 20*time.Millisecond
	r := run(t, o)
	if r.Elapsed < o.Duration || r.Elapsed > 10*o.Duration || r.Responses == 0 || r.Unfinished != 0 {
		t.Errorf("elapsed %s, responses %d, unfinished %d; want about %s, some, 0", r.Elapsed, r.Responses, r.Unfinished, o.Duration)
	}
	if calls.Load() == 0 {
		t.Error("progress was never reported")
	}
}

func TestCancelCutsOffAndReports(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served atomic.Int64
	release := make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		if n := served.Add(1); n > 50 {
			if n == 54 { // every connection is stuck
				cancel()
			}
			<-release
		}
	})
	t.Cleanup(func() { close(release) }) // before the server's own cleanup
	o := options(url)
	o.Requests, o.Timeout = 1_000_000, time.Hour
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	if r.Responses != 50 || r.Failed != 0 || r.Unfinished != 4 {
		t.Errorf("%d responses, failures %+v, %d unfinished; want 50, none, 4", r.Responses, r.Failures, r.Unfinished)
	}
}

func TestCancelWakesTheSchedule(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(http.ResponseWriter, *http.Request) { cancel() })
	o := options(url)
	o.Rate = 0.001 // the second request is due in a quarter of an hour
	if r, err := Run(ctx, o); err != nil || r.Responses+r.Unfinished != 1 {
		t.Errorf("got %+v, %v; want the one request", r, err)
	}
}
