package proxy

import (
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// TestHTTP2EndsOnce: nothing of a stream follows its END_STREAM, whether responses are read ahead or
// not, and whatever they end with.
func TestHTTP2EndsOnce(t *testing.T) {
	for _, ahead := range []int64{0, 64 << 10} {
		o := http2Options(startBackend(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/empty":
				w.WriteHeader(http.StatusNoContent)
			case "/trailers":
				w.Header().Set("Trailer", "X-After")
				_, _ = w.Write([]byte("body"))
				w.Header().Set("X-After", "1")
			case "/large":
				_, _ = w.Write(make([]byte, 40_000))
			case "/parts":
				for range 3 {
					_, _ = w.Write([]byte("part"))
					_ = http.NewResponseController(w).Flush()
				}
			default:
				_, _ = w.Write([]byte("body"))
			}
		}))
		pool := o.Pools["main"]
		pool.ResponseBuffer = Size(ahead)
		o.Pools["main"] = pool
		_, address := startProxy(t, o)
		f := dialFrames(t, address)
		for _, path := range []string{"/", "/empty", "/trailers", "/large", "/parts"} {
			stream := f.open(true, request("GET", path)...)
			f.wait(stream)
			f.must(f.write.WritePing(false, [8]byte{1}))
			for {
				frame, err := f.write.ReadFrame()
				f.must(err)
				if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
					break
				}
				if frame.Header().StreamID == stream {
					t.Errorf("%s with a response_buffer of %d: %v follows the end", path, ahead, frame)
				}
			}
		}
	}
}
