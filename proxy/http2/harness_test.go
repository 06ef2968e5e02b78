package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
)

// listOf returns a list of "name: value", where a name may begin with a colon.
func listOf(most int, fields ...string) *list {
	l := &list{most: most}
	l.begin(nil)
	addAll(l, fields)
	return l
}

func addAll(l *list, fields []string) {
	for _, line := range fields {
		at := 1 + strings.Index(line[1:], ": ")
		l.add(hpack.HeaderField{Name: line[:at], Value: line[at+2:]})
	}
}

// get returns the list of a GET, with further fields.
func get(more ...string) []string {
	return append([]string{":method: GET", ":scheme: https", ":authority: a", ":path: /"}, more...)
}

// plainConn is a client's connection in the clear.
type plainConn struct {
	net.Conn
	idle atomic.Bool
}

func (c *plainConn) Peer() netip.Addr            { return netip.Addr{} }
func (c *plainConn) Proxied() bool               { return false }
func (c *plainConn) Security() *message.Security { return nil }
func (c *plainConn) SetIdle(idle bool)           { c.idle.Store(idle) }

func (c *plainConn) Deliver(now time.Time, p []byte, timeout time.Duration) (int, error) {
	_ = c.SetWriteDeadline(now.Add(timeout))
	return c.Write(p)
}

// client is one that sends frames.
type client struct {
	*http2.Framer
	net.Conn
	server *plainConn
	block  bytes.Buffer
	encode *hpack.Encoder
}

// bounds are those of the tests.
var bounds = Bounds{ReadHeaderTimeout: 300 * time.Millisecond, IdleTimeout: 10 * time.Second, BodyTimeout: 400 * time.Millisecond}

// startServer starts a server whose handler this is. end ends it, and returns once all of its
// connections have ended.
func startServer(t *testing.T, handle func(ends.Stream)) (dial func() *client, end func()) {
	t.Helper()
	return startServerOf(t, new(ends.Activity), handle)
}

func startServerOf(t *testing.T, activity *ends.Activity, handle func(ends.Stream)) (dial func() *client, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Options{Bounds: bounds, MaxHeaderSize: 8 << 10, Handle: handle, Activity: activity})
	var serving sync.WaitGroup
	dial = func() *client {
		t.Helper()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := &client{Conn: conn, Framer: http2.NewFramer(conn, conn), server: &plainConn{Conn: accepted}}
		c.Framer.AllowIllegalWrites = true
		c.encode = hpack.NewEncoder(&c.block)
		serving.Go(func() { s.Serve(c.server) })
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = c.WriteSettings()
		return c
	}
	return dial, func() {
		_ = listener.Close()
		s.Drain()
		serving.Wait()
	}
}

// open begins a stream with a header list.
func (c *client) open(stream uint32, ends bool, fields ...string) {
	c.block.Reset()
	for _, line := range fields {
		at := 1 + strings.Index(line[1:], ": ")
		_ = c.encode.WriteField(hpack.HeaderField{Name: line[:at], Value: line[at+2:]})
	}
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: ends, EndHeaders: true})
}

// next returns the next frame in short, other than the server's first SETTINGS and WINDOW_UPDATE and
// what acknowledges the client's. At the end of the connection it is "closed".
func (c *client) next() string {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
		case *http2.WindowUpdateFrame:
			if f.StreamID != 0 {
				return fmt.Sprintf("%d window %d", f.StreamID, f.Increment)
			}
		case *http2.HeadersFrame:
			return fmt.Sprintf("%d headers, end %v", f.StreamID, f.StreamEnded())
		case *http2.DataFrame:
			return fmt.Sprintf("%d data %d, end %v", f.StreamID, len(f.Data()), f.StreamEnded())
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%d reset %s", f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Sprintf("goaway %d %s", f.LastStreamID, f.ErrCode)
		case *http2.PingFrame:
			return fmt.Sprintf("ping %s, ack %v", f.Data, f.IsAck())
		}
	}
}

// expect fails the test if other frames come next.
func (c *client) expect(t *testing.T, frames ...string) {
	t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			t.Errorf("%q came, want %q", got, want)
		}
	}
}
