package http1

import (
	"net"
	"net/netip"
	"runtime"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
)

// serveHTTP2 hands a connection to the server of HTTP/2, and returns once that has ended.
func (s *Server) serveHTTP2(conn net.Conn) error {
	c := conn.(*clientConn)
	if !c.idle.end() {
		return net.ErrClosed
	}
	c.used.Store(true) // from now on the server of HTTP/2 ends it
	_ = c.Conn.SetReadDeadline(time.Time{})
	s.options.HTTP2(&handedConn{clientConn: c})
	return nil
}

// handedConn is a client's connection as the server of HTTP/2 has it.
type handedConn struct{ *clientConn }

var _ ends.Conn = (*handedConn)(nil)

// Peer is that of ends.Conn.
func (c *handedConn) Peer() netip.Addr { return c.peer }

// Proxied is that of ends.Conn.
func (c *handedConn) Proxied() bool { return c.forwarded }

// SetIdle is that of ends.Conn.
func (c *handedConn) SetIdle(idle bool) {
	if idle {
		c.idle.begin(time.Now())
	} else {
		c.idle.end() // one that was closed shows when it is read
	}
}

// Read reads what has come already, and then from the connection.
func (c *handedConn) Read(p []byte) (int, error) {
	if ahead := c.in.buffered(); len(ahead) > 0 {
		n := copy(p, ahead)
		c.in.r += n
		c.in.settle()
		return n, nil
	}
	return c.Conn.Read(p)
}

// Security is that of ends.Conn.
func (c *handedConn) Security() *message.Security {
	if of := c.secured(); of != nil {
		return &of.Security
	}
	return nil
}

// Write writes to the connection. Under load other goroutines are ready to run, and what they write
// meanwhile leaves in one write after this one.
func (c *handedConn) Write(p []byte) (int, error) {
	runtime.Gosched()
	return c.Conn.Write(p)
}
