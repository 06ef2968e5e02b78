package http1

import "crypto/tls"

// protocolHTTP2 is how HTTP/2 is named in the handshake of TLS.
const protocolHTTP2 = "h2"

// http2Preface is what a client begins with that knows the server to speak HTTP/2 (RFC 9113, section
// 3.4).
var http2Preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

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
