package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framedConn is a connection at a backend of HTTP/2, frame by frame.
type framedConn struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	number  int // of the connection, from 1
}

// startFramedBackend takes each connection's preface, sends settings, and calls got for each header
// of a request, until the connection ends. got may end it by returning an error.
func startFramedBackend(t testing.TB, got func(c *framedConn, id uint32) error, settings ...http2.Setting) (url string) {
	var conns atomic.Int32
	return startH2CBackend(t, func(conn net.Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		c := &framedConn{Conn: conn, Framer: http2.NewFramer(conn, conn), number: int(conns.Add(1))}
		c.AllowIllegalWrites = true
		c.encoder = hpack.NewEncoder(&c.block)
		_ = c.WriteSettings(settings...)
		for {
			f, err := c.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = c.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				if got(c, f.StreamID) != nil {
					return
				}
			}
		}
	})
}

// startH2CBackend hands each connection, which is in the clear, to a function, and returns a URL
// of h2c://.
func startH2CBackend(t testing.TB, serve func(conn net.Conn)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, ln, serve)
	return "h2c://" + ln.Addr().String()
}

// header sends a header of pairs of names and values.
func (c *framedConn) header(id uint32, ends bool, pairs ...string) {
	c.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	part := c.block.Next(16 << 10)
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndHeaders: c.block.Len() == 0, EndStream: ends})
	for c.block.Len() > 0 {
		part = c.block.Next(16 << 10)
		_ = c.WriteContinuation(id, c.block.Len() == 0, part)
	}
}

// TestHTTP2HostileBackend has responses that are not valid. None of them goes on, nor a byte of it
// in a header of HTTP/1, and the next request is served.
func TestHTTP2HostileBackend(t *testing.T) {
	t.Parallel()
	ended := func(pairs ...string) func(*framedConn, uint32) error {
		return func(c *framedConn, id uint32) error { c.header(id, true, pairs...); return nil }
	}
	body := func(data string, pairs ...string) func(*framedConn, uint32) error {
		return func(c *framedConn, id uint32) error {
			c.header(id, false, pairs...)
			return c.WriteData(id, true, []byte(data))
		}
	}
	for name, test := range map[string]struct {
		send func(*framedConn, uint32) error
		want string // the reason, "cut", or "either": bad_response, or cut where the header has gone on
	}{
		"no status":                 {ended("a", "b"), "bad_response"},
		"two statuses":              {ended(":status", "200", ":status", "200"), "bad_response"},
		"status of two digits":      {ended(":status", "20"), "bad_response"},
		"status with a sign":        {ended(":status", "+20"), "bad_response"},
		"status behind a field":     {ended("a", "b", ":status", "200"), "bad_response"},
		"pseudo-field of a request": {ended(":status", "200", ":path", "/"), "bad_response"},
		"upper case":                {ended(":status", "200", "X-Evil", "1"), "bad_response"},
		"CR LF in a value":          {ended(":status", "200", "a", "b\r\nset-cookie: evil=1"), "bad_response"},
		"LF in a name":              {ended(":status", "200", "a\nevil", "b"), "bad_response"},
		"colon in a name":           {ended(":status", "200", "evil:a", "b"), "bad_response"},
		"NUL in a value":            {ended(":status", "200", "evil", "a\x00b"), "bad_response"},
		"space in a name":           {ended(":status", "200", "evil a", "b"), "bad_response"},
		"empty name":                {ended(":status", "200", "", "evil"), "bad_response"},
		"connection":                {ended(":status", "200", "connection", "evil"), "bad_response"},
		"transfer-encoding":         {body("5\r\nevil!\r\n0\r\n\r\n", ":status", "200", "transfer-encoding", "chunked"), "bad_response"},
		"upgrade":                   {ended(":status", "200", "upgrade", "evil"), "bad_response"},
		"101":                       {body("evil", ":status", "101", "upgrade", "websocket"), "bad_response"},
		"interim with the end":      {ended(":status", "103"), "bad_response"},
		"two lengths":               {body("evil", ":status", "200", "content-length", "4", "content-length", "5"), "bad_response"},
		"length that is none":       {body("evil", ":status", "200", "content-length", "four"), "bad_response"},
		"length and no body":        {ended(":status", "200", "content-length", "4"), "bad_response"},
		"body too long":             {body("evil and more", ":status", "200", "content-length", "4"), "either"},
		"body too short":            {body("evil", ":status", "200", "content-length", "40"), "cut"},
		"body without a header":     {func(c *framedConn, id uint32) error { return c.WriteData(id, true, []byte("evil")) }, "bad_response"},
		"header too large":          {ended(":status", "200", "evil", strings.Repeat("a", 70_000)), "bad_response"},
		"reset":                     {func(c *framedConn, id uint32) error { return c.WriteRSTStream(id, http2.ErrCodeInternal) }, "backend_reset"},
		"needs HTTP/1":              {func(c *framedConn, id uint32) error { return c.WriteRSTStream(id, http2.ErrCodeHTTP11Required) }, "bad_response"},
		"end of the connection":     {func(*framedConn, uint32) error { return io.EOF }, "backend_reset"},
		"reset in the body": {func(c *framedConn, id uint32) error {
			c.header(id, false, ":status", "200")
			_ = c.WriteData(id, false, []byte("ok so far"))
			time.Sleep(50 * time.Millisecond)
			return c.WriteRSTStream(id, http2.ErrCodeInternal)
		}, "cut"},
		"trailers with a pseudo-field": {func(c *framedConn, id uint32) error {
			c.header(id, false, ":status", "200")
			_ = c.WriteData(id, false, []byte("ok so far"))
			time.Sleep(50 * time.Millisecond)
			c.header(id, true, ":status", "200")
			return nil
		}, "cut"},
		"trailers with CR LF": {func(c *framedConn, id uint32) error {
			c.header(id, false, ":status", "200")
			_ = c.WriteData(id, false, []byte("ok so far"))
			time.Sleep(50 * time.Millisecond)
			c.header(id, true, "a", "b\r\nevil: 1")
			return nil
		}, "cut"},
		"a number of nothing": {func(c *framedConn, _ uint32) error { return c.WriteData(77, true, nil) }, "backend_reset"},
		"push": {func(c *framedConn, id uint32) error {
			return c.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		}, "backend_reset"},
		"more than the window": {func(c *framedConn, id uint32) error {
			c.header(id, false, ":status", "200")
			for range 100 {
				_ = c.WriteData(id, false, make([]byte, 16<<10))
			}
			return nil
		}, "cut"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			url := startFramedBackend(t, func(c *framedConn, id uint32) error {
				if requests.Add(1) == 1 {
					return test.send(c, id)
				}
				c.header(id, true, ":status", "204")
				return nil
			})
			o := testOptions(url)
			o.Server.BodyTimeout = 5 * time.Second
			pool := o.Pools["main"]
			pool.Timeouts.Connect, pool.Retry.Attempts = 10*time.Second, 1
			o.Pools["main"] = pool
			_, address := startProxy(t, o)
			w := newWire(t, address)
			w.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			a, err := w.tryReceive("POST")
			switch {
			case test.want == "cut" && err == nil:
				t.Errorf("got %d, %.60q, want a response that breaks off", a.StatusCode, a.body)
			case test.want == "either":
				if err == nil && !strings.Contains(string(a.body), `"reason":"bad_response"`) {
					t.Errorf("got %d, %.60q, want bad_response or a response that breaks off", a.StatusCode, a.body)
				}
			case test.want != "cut" && (err != nil || !strings.Contains(string(a.body), `"reason":"`+test.want+`"`)):
				t.Errorf("got %q, %v, want %s", a.body, err, test.want)
			}
			if a.Response != nil {
				for name := range a.Header {
					if strings.Contains(strings.ToLower(name+fmt.Sprint(a.Header[name])), "evil") {
						t.Errorf("%s went on", name)
					}
				}
			}
			if got := status(t, address, get("/")); got != 204 {
				t.Errorf("the next request got %d", got)
			}
		})
	}
}

// TestHTTP2Unprocessed has a backend refuse requests without looking at them. They are sent again,
// whatever their method.
func TestHTTP2Unprocessed(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*framedConn, uint32) error{
		"GOAWAY":  func(c *framedConn, id uint32) error { return c.WriteGoAway(id-1, http2.ErrCodeNo, nil) },
		"refused": func(c *framedConn, id uint32) error { return c.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Int32
			first := startFramedBackend(t, func(c *framedConn, id uint32) error {
				refused.Add(1)
				return refuse(c, id)
			})
			second := startHTTP2Backend(t, 0, mirror)
			p, address := startProxy(t, testOptions(first, second))
			for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
				for range 4 {
					w := newWire(t, address)
					w.send("POST / HTTP/1.1\r\nHost: a\r\n" + body)
					if a := w.receive("POST"); a.StatusCode != 200 || string(a.body) != "hello" {
						t.Errorf("got %d, %q", a.StatusCode, a.body)
					}
				}
			}
			if refused.Load() == 0 { // after some in a row, the backend is ejected
				t.Error("no request was refused")
			}
			mustHaveNoErrors(t, p)
		})
	}
}

// TestHTTP2BackendIsNotAsked is for backends that do not begin HTTP/2.
func TestHTTP2BackendIsNotAsked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"silent": {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "connect_timeout"},
		"HTTP/1": {answerAll("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "connect_failed"},
		"closes": {func(net.Conn) {}, "connect_failed"},
		"no settings first": {func(conn net.Conn) {
			_ = http2.NewFramer(conn, conn).WritePing(false, [8]byte{})
			_, _ = io.Copy(io.Discard, conn)
		}, "connect_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(startH2CBackend(t, test.serve))
			if test.want == "connect_timeout" {
				shortTimeouts(&o)
			}
			withAttempts(&o, 1)
			_, address := startProxy(t, o)
			if got := talk(t, address, get("/")); !strings.Contains(got, `"reason":"`+test.want+`"`) {
				t.Errorf("got %q, want %s", got, test.want)
			}
		})
	}
}

// TestHTTP2BackendOnUnixSocket speaks HTTP/2 over a unix socket, by protocol: h2.
func TestHTTP2BackendOnUnixSocket(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTP2Backend(0, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	_ = s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	o := testOptions("unix:" + ln.Addr().String())
	o.Pools["main"].Backends[0].Protocol = "h2"
	_, address := startProxy(t, o)
	w := newWire(t, address)
	w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := w.receive("GET"); string(a.body) != "HTTP/2.0" {
		t.Errorf("got %q", a.body)
	}
}
