package proxy

import (
	"net/http"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// TestHTTP2BegunIsNotUnprocessed has a backend say that it has not looked at a request to which it
// has sent an interim response. It may have: a POST is not sent again.
func TestHTTP2BegunIsNotUnprocessed(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*framedConn, uint32) error{
		"GOAWAY":  func(c *framedConn, id uint32) error { return c.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"refused": func(c *framedConn, id uint32) error { return c.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			first := startFramedBackend(t, func(c *framedConn, id uint32) error {
				requests.Add(1)
				c.header(id, false, ":status", "103")
				return refuse(c, id)
			})
			second := startHTTP2Backend(t, 0, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
			_, address := startProxy(t, testOptions(first, second))
			for range 4 {
				requests.Store(0)
				w := newWire(t, address)
				w.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
				a := w.receive("POST")
				if n := requests.Load(); n != 1 || a.StatusCode != 200 && a.StatusCode != 502 {
					t.Errorf("%d requests came to backends, and the client got %d", n, a.StatusCode)
				}
			}
		})
	}
}
