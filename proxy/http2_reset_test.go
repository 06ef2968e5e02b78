package proxy

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestHTTP2ResetsOfBegunWork opens as many streams as it may, waits until the backend works on them,
// and resets all, over and over. The backend never has more than those, each is ended there, and the
// connection ends when its allowance does.
func TestHTTP2ResetsOfBegunWork(t *testing.T) {
	t.Parallel()
	var at busiest
	url := startRawBackend(t, func(conn net.Conn) {
		at.enter()
		defer at.leave()
		_, _ = io.Copy(io.Discard, conn)
	})
	_, address := startProxy(t, http2Options(url))
	f := dialFrames(t, address)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			frame, err := f.write.ReadFrame()
			if err != nil {
				return
			}
			if g, ok := frame.(*http2.GoAwayFrame); ok && g.ErrCode == http2.ErrCodeEnhanceYourCalm {
				return
			}
		}
	}()
	resets := 0
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		first := f.last + 1 + f.last%2
		for range 250 {
			f.open(true, request("GET", "/")...)
		}
		eventually(t, "the backend to work on most", func() bool { return at.open.Load() > 200 || isClosed(closed) })
		for stream := first; stream <= f.last && !isClosed(closed); stream += 2 {
			if f.write.WriteRSTStream(stream, http2.ErrCodeCancel) == nil {
				resets++
			}
		}
		eventually(t, "the end of the work", func() bool { return at.open.Load() == 0 })
		if isClosed(closed) {
			t.Logf("%d resets, of work that was %d at once", resets, at.most.Load())
			if at.most.Load() > 250 || resets > 2000 {
				t.Error("that is too much")
			}
			return
		}
	}
	t.Errorf("the connection goes on after %d resets", resets)
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
