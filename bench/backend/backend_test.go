package backend

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock of the Date header lives as long as the process,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// and its pool of workers notices in its sleep, within 10 s, that it was stopped.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// start serves a backend until the test ends, and returns its base URL and a stop that waits for
// Serve's error.
func start(t *testing.T, o Options) (url string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, o) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Errorf("Serve returned %v, want nil", err)
		}
	})
	return "http://" + ln.Addr().String(), stop
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodGet, url, "")
}

func do(t *testing.T, method, url, request string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServeNamesItself(t *testing.T) {
	url, _ := start(t, Options{})
	addr := strings.TrimPrefix(url, "http://")
	resp, body := get(t, url+"/any/path")
	if resp.StatusCode != 200 || body != "backend "+addr+"\n" || resp.Header.Get("X-Backend") != addr {
		t.Errorf("got %d, body %q, X-Backend %q; want the address %s in both", resp.StatusCode, body, resp.Header.Get("X-Backend"), addr)
	}

	url, _ = start(t, Options{Name: "blue"})
	if resp, body := get(t, url); body != "backend blue\n" || resp.Header.Get("X-Backend") != "blue" {
		t.Errorf("named blue: got body %q, X-Backend %q", body, resp.Header.Get("X-Backend"))
	}
}

func TestServeBodySizes(t *testing.T) {
	for _, size := range []int64{1, 128, streamAbove, streamAbove + 1, 5 << 20} {
		url, _ := start(t, Options{Name: "b", BodySize: size})
		resp, body := get(t, url)
		if int64(len(body)) != size || resp.ContentLength != size {
			t.Errorf("body_size %d: got %d bytes, Content-Length %d", size, len(body), resp.ContentLength)
		}
		if !strings.HasPrefix("backend b\n"+string(filling), body[:min(len(body), 100)]) {
			t.Errorf("body_size %d: body starts %q", size, body[:min(len(body), 100)])
		}
	}
}

func TestServeErrorRate(t *testing.T) {
	tests := []struct {
		rate     float64
		low, top int // the 500s allowed among 200 requests
	}{{0, 0, 0}, {0.5, 50, 150}, {1, 200, 200}}
	for _, tt := range tests {
		url, _ := start(t, Options{ErrorRate: tt.rate})
		failed := 0
		for range 200 {
			if resp, _ := get(t, url); resp.StatusCode == 500 {
				failed++
			}
		}
		if failed < tt.low || failed > tt.top {
			t.Errorf("error_rate %v: %d of 200 answers are 500, want %d to %d", tt.rate, failed, tt.low, tt.top)
		}
		if resp, _ := get(t, url+"/healthz"); resp.StatusCode != 200 {
			t.Errorf("error_rate %v: /healthz answers %d, want 200", tt.rate, resp.StatusCode)
		}
	}
}

func TestServeDelay(t *testing.T) {
	url, _ := start(t, Options{Delay: 100 * time.Millisecond})
	begun := time.Now()
	get(t, url)
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("answered after %s, want 100ms or more", took)
	}

	slow, stop := start(t, Options{Delay: time.Hour})
	get(t, slow+"/healthz") // not delayed
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := http.Get(slow); err == nil {
			resp.Body.Close()
		}
	}()
	if err := stop(); err != nil { // a delay does not hold up the end
		t.Errorf("Serve returned %v, want nil", err)
	}
	<-answered
}

func TestServeDrainsBody(t *testing.T) {
	url, _ := start(t, Options{Name: "b"})
	const size = 64 << 20
	resp, err := http.Post(url, "application/octet-stream", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "backend b\n" {
		t.Errorf("after a body of %d bytes: got %q", size, body)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestStreamTakesConstantMemory(t *testing.T) {
	url, _ := start(t, Options{})
	const size = 512 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := http.Get(url + "/stream?bytes=536870912")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	runtime.ReadMemStats(&after)
	if n != size || err != nil {
		t.Errorf("read %d bytes, error %v; want %d, nil", n, err, size)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("streaming %d bytes allocated %d bytes, want 8 MiB at most", size, grown)
	}

	for _, bad := range []string{"", "?bytes=-1", "?bytes=x", "?bytes=9999999999999999"} {
		if resp, _ := get(t, url+"/stream"+bad); resp.StatusCode != 400 {
			t.Errorf("/stream%s: got %d, want 400", bad, resp.StatusCode)
		}
	}
}

func TestServeCutsWhatOutlastsTheGrace(t *testing.T) {
	url, stop := start(t, Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /stream?bytes=1099511627776 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1024)); err != nil { // under way, and then never read again
		t.Fatal(err)
	}
	begun := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	if took := time.Since(begun); took > shutdownGrace+3*time.Second {
		t.Errorf("Serve returned after %s, want about %s", took, shutdownGrace)
	}
}

func TestServeEndedContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, ln, Options{}); err != nil {
		t.Errorf("Serve with an ended context returned %v, want nil", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is open after Serve")
	}
}

func TestServeRefusesOptions(t *testing.T) {
	for _, o := range []Options{{Delay: -1}, {ErrorRate: 1.5}, {ErrorRate: -0.1}, {BodySize: -1}, {BodySize: MaxBodySize + 1}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := Serve(t.Context(), ln, o); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("Serve with %+v returned %v, want what is allowed", o, err)
		}
	}
}

func TestFiller(t *testing.T) {
	label := []byte("label\n")
	for _, size := range []int64{0, 3, 6, 7, 100, 100_000} {
		read, err := io.ReadAll(struct{ io.Reader }{newFiller(label, size)})
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if _, err := newFiller(label, size).WriteTo(&written); err != nil {
			t.Fatal(err)
		}
		for _, got := range [][]byte{read, written.Bytes()} {
			if int64(len(got)) != size || !bytes.HasPrefix(append(label, filling...), got[:min(len(got), 1000)]) {
				t.Errorf("size %d: got %d bytes, starting %.20q", size, len(got), got)
			}
		}
	}
}
