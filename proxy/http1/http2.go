package http1

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"loadbalancer/proxy/ends"
)

// protocolHTTP2 is how HTTP/2 is named in the handshake of TLS.
const protocolHTTP2 = "h2"

// http2Preface is what a client begins with that knows the server to speak HTTP/2 (RFC 9113, section
// 3.4).
var http2Preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// Handshake is called by fasthttp before it reads, to be asked for the protocol then. It never
// fails: what is wrong with the connection shows when it is read.
func (c *clientConn) Handshake() error {
	if c.bounds.Load().H2C && !c.IsSecure() {
		c.http2 = c.beginsHTTP2()
	}
	return nil
}

// ConnectionState tells fasthttp the protocol of the connection.
func (c *clientConn) ConnectionState() tls.ConnectionState {
	state := c.Conn.ConnectionState()
	if c.http2 {
		state.NegotiatedProtocol = protocolHTTP2
	}
	return state
}

// beginsHTTP2 reports whether the connection begins with the preface of HTTP/2. It reads no further
// than it has to for that, and what it reads stays in c.in.
func (c *clientConn) beginsHTTP2() bool {
	var piece [24]byte
	if c.awaitsProxy && c.readProxyHeader(make([]byte, maxProxyLine)) != nil {
		return false
	}
	for {
		have := c.in.buffered()
		switch {
		case !beginsLike(have, http2Preface):
			return false
		case len(have) >= len(http2Preface):
			return true
		case len(have) == 0:
			c.expectHeader()
		case c.headerBy.IsZero():
			c.boundHeader()
		}
		n, err := c.Conn.Read(piece[:len(http2Preface)-len(have)])
		if n == 0 || err != nil {
			return false
		}
		c.used.Store(true)
		c.in.keep(piece[:n])
	}
}

// serveHTTP2 hands a connection to the server of HTTP/2, and returns once that has ended.
func (s *Server) serveHTTP2(conn net.Conn) error {
	c := conn.(*clientConn)
	if !c.idle.end() {
		return net.ErrClosed
	}
	_ = c.Conn.SetReadDeadline(time.Time{})
	s.options.HTTP2(&handedConn{clientConn: c})
	return nil
}

// handedConn is a client's connection as the server of HTTP/2 has it.
type handedConn struct{ *clientConn }

var _ ends.Conn = (*handedConn)(nil)

// Peer is that of ends.Conn.
func (c *handedConn) Peer() netip.Addr { return c.peer }

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

// Write writes to the connection.
func (c *handedConn) Write(p []byte) (int, error) { return c.Conn.Write(p) }
