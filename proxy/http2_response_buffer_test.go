package proxy

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"loadbalancer/limiter"
	"loadbalancer/proxy/upstream"
)

// TestHTTP2ResponseBuffer is TestResponseBuffer for a client that opens no windows: its response is
// read ahead of it, and comes as it opens them.
func TestHTTP2ResponseBuffer(t *testing.T) {
	body := randomBytes(250 << 10)
	for _, test := range []struct {
		name            string
		buffer, buffers upstream.Size
		trailers        bool
		free            bool
	}{
		{"fits", 256 << 10, 1 << 20, false, true},
		{"fits, with trailers", 256 << 10, 1 << 20, true, true},
		{"does not fit", 16 << 10, 1 << 20, false, false},
		{"off", 0, 1 << 20, false, false},
		{"no memory left", 256 << 10, 256<<10 - 1, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := http2Options(startBackend(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.trailers {
					w.Header().Set("Trailer", "X-Sum")
				}
				_, _ = w.Write(body)
				w.Header().Set("X-Sum", "1")
			}))
			o.Server.Buffers = test.buffers
			o.Limiter = limitsOf(limiter.Terms{Limit: ample, MaxInFlight: 1})
			pool := o.Pools["main"]
			pool.ResponseBuffer = test.buffer
			o.Pools["main"] = pool
			p, address := startProxy(t, o)
			f := dialFrames(t, address)
			for range 2 { // the second finds what the first has given back
				stream := f.open(true, request("GET", "/")...)
				time.Sleep(300 * time.Millisecond)
				inFlight := func() int64 { return p.pools.byName["main"].States()[0].InFlight }
				if test.free {
					eventually(t, "the end of the backend's part", func() bool { return inFlight() == 0 })
				} else if inFlight() == 0 {
					t.Error("no request is in flight at the backend while the client reads nothing")
				}
				a := f.wait(stream)
				if !bytes.Equal(a.body, body) || !a.whole || test.trailers && a.trailers["x-sum"] != "1" {
					t.Fatalf("%s: got %d bytes, want %d, and the trailers %v", a, len(a.body), len(body), a.trailers)
				}
			}
		})
	}
}

// TestHTTP2ResponseBufferOfAClientThatLeaves is given up, as is one of a client that takes nothing.
func TestHTTP2ResponseBufferOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	o := http2Options(startBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(randomBytes(1<<20))) }))
	o.Server.BodyTimeout = 300 * time.Millisecond
	p, address := startProxy(t, o)
	f := dialFrames(t, address)
	stalls, leaves := f.open(true, request("GET", "/")...), f.open(true, request("GET", "/")...)
	time.Sleep(50 * time.Millisecond)
	f.must(f.write.WriteRSTStream(leaves, http2.ErrCodeCancel))
	for {
		frame, err := f.write.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.RSTStreamFrame); ok && frame.Header().StreamID == stalls {
			break
		}
	}
	eventually(t, "both to be given up", func() bool { return errorsWith(p, "client_gone") == "2" })
	waitIdle(t, p)
}
