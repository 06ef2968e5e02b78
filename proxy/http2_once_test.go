package proxy

import (
	"io"
	"net/http"
	"strings"
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

// TestHTTP2SentOnce has a backend fail a request in each way in which it may have processed it. A POST
// comes to one backend, once; a GET may be sent again, and is served.
func TestHTTP2SentOnce(t *testing.T) {
	t.Parallel()
	fails := map[string]func(*framedConn, uint32) error{
		"GOAWAY of the same number, and the end": func(c *framedConn, id uint32) error {
			_ = c.WriteGoAway(id, http2.ErrCodeNo, nil)
			return io.EOF
		},
		"the end": func(*framedConn, uint32) error { return io.EOF },
		"a fault": func(c *framedConn, _ uint32) error { return c.WriteData(77, true, nil) },
		"settings of no size": func(c *framedConn, _ uint32) error {
			return c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize})
		},
		"a window that overflows": func(c *framedConn, _ uint32) error { return c.WriteWindowUpdate(0, 1<<31-1) },
	}
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required; code++ {
		if code != http2.ErrCodeRefusedStream {
			fails["reset by "+code.String()] = func(c *framedConn, id uint32) error { return c.WriteRSTStream(id, code) }
		}
	}
	for name, fail := range fails {
		fatal := strings.HasSuffix(name, "HTTP_1_1_REQUIRED") // another attempt would end in the same way
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed, served atomic.Int32
			first := startFramedBackend(t, func(c *framedConn, id uint32) error {
				failed.Add(1)
				return fail(c, id)
			})
			second := startHTTP2Backend(t, 0, func(http.ResponseWriter, *http.Request) { served.Add(1) })
			_, address := startProxy(t, http2Options(first, second))
			for _, method := range strings.Fields("POST POST GET GET GET POST PUT PUT POST") {
				failed.Store(0)
				served.Store(0)
				f := dialFrames(t, address)
				stream := f.open(false, request(method, "/", "content-length: 5")...)
				f.must(f.write.WriteData(stream, true, []byte("hello")))
				got, n := f.wait(stream).String(), failed.Load()+served.Load()
				if method == "POST" && n != 1 || got != "200" && (got != "502" || method != "POST" && !fatal) {
					t.Errorf("%s got %s, after %d requests to backends", method, got, n)
				}
			}
		})
	}
}
