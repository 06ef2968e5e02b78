package proxy

import (
	"bufio"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// piecesConn is a connection in memory: each Read gives one piece, or as much of
// it as fits, and after the last it has ended. What is written to it is kept.
type piecesConn struct {
	net.Conn
	pieces  [][]byte
	written []byte
}

// newPieces cuts the bytes at the positions given, which are in rising order.
func newPieces(b string, cuts ...int) *piecesConn {
	c := &piecesConn{}
	from := 0
	for _, at := range append(cuts, len(b)) {
		if at > from && at <= len(b) {
			c.pieces = append(c.pieces, []byte(b[from:at]))
			from = at
		}
	}
	return c
}

func (c *piecesConn) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *piecesConn) Write(p []byte) (int, error) {
	c.written = append(c.written, p...)
	return len(p), nil
}

// unread is what no Read has given.
func (c *piecesConn) unread() string {
	var rest []byte
	for _, p := range c.pieces {
		rest = append(rest, p...)
	}
	return string(rest)
}

func (c *piecesConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
}
func (c *piecesConn) Close() error                     { return nil }
func (c *piecesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *piecesConn) SetWriteDeadline(time.Time) error { return nil }

// newInbound makes an inbound over bytes in memory.
func newInbound(c net.Conn) *inbound {
	conn := wire.Over(c)
	return &inbound{conn: &conn}
}

// parsedRequest parses a request as the server does: fasthttp reads its header
// through our connection, then the guard judges it. parsed is false where fasthttp
// has refused it already.
func (p *Proxy) parsedRequest(conn *piecesConn) (x *exchange, why reason.Code, parsed bool) {
	c := &clientConn{Conn: wire.Over(conn), peer: peerOf(conn), wait: &headerTimeouts{header: time.Minute, idle: time.Minute}}
	c.in.conn = &c.Conn
	ctx := &fasthttp.RequestCtx{}
	ctx.Init2(c, noLog{}, false)
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(c, p.server.ReadBufferSize)); err != nil {
		return nil, reason.BadRequest, false
	}
	hideBody(&ctx.Request.Header)
	x = beginExchange(ctx)
	return x, p.guard(x), true
}
