package http1

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/wire"
)

// clientConn is a client's connection. fasthttp reads request headers from it, one at a time and
// not a byte more. Request bodies are read and backend responses are written here, without
// fasthttp, whose Request and Response would reorder and rewrite fields and hide where a body
// begins and ends.
type clientConn struct {
	wire.Conn
	front    int        // of the server; see Server.fronts
	peer     netip.Addr // the other end's address, or the one in the PROXY header
	set      *connSet
	index    int  // in set, which guards it
	uploads  bool // a body is read for the API; set guards it
	idle     idleness
	bounds   *atomic.Pointer[Bounds]
	draining *atomic.Bool
	closed   atomic.Bool
	used     atomic.Bool // a byte of a request has come
	headerBy time.Time   // when the header that has begun must be complete
	lastUse  time.Time   // the end of the last exchange; zero before the first
	scan     headerScan
	in       inbound // bytes after the header: a body, or the next request
	partner  ends.Partner
	parked   atomic.Bool // it waits without fasthttp; see park.go
	resumed  bool        // it was parked, and something has arrived
	returns  bool        // its goroutine returns to Server.changed
	answered bool        // the last request has its response: drop fasthttp's own
	ending   wire.Ending

	awaitsProxy bool // a PROXY header must come first
	forwarded   bool // a PROXY header has come
	mayBeHTTP2  bool // in the clear, without having asked: see Bounds.H2C
	http2       bool // it is

	tls      *tls.Config // nil: in the clear
	shakes   *handshakes
	security atomic.Pointer[Security] // what the handshake has agreed on; nil: there was none
	unshaken error                    // why there was none, although there must be one

	authorities func() *x509.CertPool // see Front
}

// Read gives fasthttp the bytes of a header, and never what follows it.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.unshaken != nil {
		return 0, c.unshaken
	}
	if c.awaitsProxy {
		if err := c.readProxyHeader(p); err != nil {
			return 0, err
		}
	}
	if ahead := c.in.buffered(); len(ahead) > 0 {
		if !c.idle.end() {
			return 0, net.ErrClosed
		}
		n := copy(p, ahead)
		n = c.scan.end(p[:n])
		c.scan.size += n
		c.in.r += n
		c.in.settle()
		return n, c.scan.fault()
	}
	c.expectHeader()
	n, err := c.Conn.Read(p[:min(len(p), streamBufferSize)])
	if err != nil && c.mayPark(err) {
		return 0, err
	}
	if n > 0 && !c.idle.end() {
		return 0, net.ErrClosed
	}
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	if end := c.scan.end(p[:n]); end < n {
		c.in.keep(p[end:n])
		n = end
	}
	c.scan.size += n
	c.resumed = false
	if err == nil {
		err = c.scan.fault()
	}
	return n, err
}

// expectHeader sets the deadline for reading a header. fasthttp could do so too, but it reads the
// clock and sets a deadline twice for each request.
func (c *clientConn) expectHeader() {
	switch {
	case !c.headerBy.IsZero():
	case c.scan != headerScan{}:
		c.boundHeader()
	case c.lastUse.IsZero():
		c.ExpectRead(time.Now(), c.bounds.Load().ReadHeaderTimeout)
	default:
		c.idle.begin(c.lastUse)
		if wait := c.bounds.Load().IdleTimeout; c.resumed || !c.Tells() {
			c.ExpectRead(c.lastUse, wait)
		} else {
			c.ExpectRead(c.lastUse, min(wait, c.parkAfter()))
		}
	}
}

// boundHeader sets the deadline for the rest of a header that has begun.
func (c *clientConn) boundHeader() {
	c.headerBy = time.Now().Add(c.bounds.Load().ReadHeaderTimeout)
	_ = c.SetReadDeadline(c.headerBy)
}

// Write is for fasthttp, which writes a response after each request.
func (c *clientConn) Write(p []byte) (int, error) {
	if c.answered {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close ends the connection in the way that the last exchange decided, unless it is parked.
func (c *clientConn) Close() error {
	if c.parked.Load() || c.closed.Swap(true) {
		return nil
	}
	defer c.set.remove(c)
	c.partner.End()
	return c.End(c.ending, c.draining)
}

// abort makes Close reset the connection (RST), so that the client can tell a truncated response
// from one that ends with the connection.
func (c *clientConn) abort() {
	c.ending.Raise(wire.Reset)
	c.ResetOnClose()
}

// PeerOf returns the address at the other end of a connection, which is that of a proxy's client if
// it began with a PROXY header, as proxied says. The connection may be another server's. A peer on
// a unix socket is 127.0.0.1.
func PeerOf(conn net.Conn) (peer netip.Addr, proxied bool) {
	switch c := conn.(type) {
	case *clientConn:
		return c.peer, c.forwarded
	case ends.Conn:
		return c.Peer(), c.Proxied()
	}
	return peerOf(conn), false
}
