package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// piecesConn is a connection in memory: each Read gives one piece, or as much of it as fits, and
// after the last it has ended. What is written to it is kept.
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

// unread returns the bytes that no Read has returned.
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

// lines ends each line, and then the header.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// withHost is lines with a Host field after the request line.
func withHost(l ...string) string {
	return lines(slices.Concat(l[:1], []string{"Host: example.com"}, l[1:])...)
}

// inChunks frames a body in chunks of uneven sizes.
func inChunks(body []byte) string {
	var b []byte
	for size := 1; len(body) > 0; size = size*3 + 1 {
		n := min(size, len(body))
		at := len(b)
		b = appendChunk(append(b, body[:n]...), at)
		body = body[n:]
	}
	return string(b) + "0\r\n\r\n"
}

// randomBytes returns bytes that are the same in every run.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// newTestServer returns a server that serves nothing, for streams in memory.
func newTestServer() *Server {
	return NewServer(Options{Bounds: Bounds{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}, MaxHeaderSize: 16 << 10, Log: zerolog.Nop()})
}

// newTestConn returns a client's connection of such a server.
func newTestConn(conn net.Conn) *clientConn {
	server := newTestServer()
	c := &clientConn{Conn: wire.Over(conn), peer: peerOf(conn), set: &server.conns, bounds: &server.bounds, draining: &server.activity.Draining}
	c.in.conn = &c.Conn
	return c
}

// testLimits sets the two fields whose names come from the config.
var testLimits = &ends.Limits{Rules: message.Rules{KeyField: "x-api-key", Own: message.Own{ClientField: "cf-connecting-ip"}}, BodyTimeout: time.Minute}

// parsedRequest parses a request as the server does: fasthttp reads its header through our
// connection, then the guard judges it. parsed is false where fasthttp has refused it already.
func parsedRequest(conn net.Conn) (s *Stream, why reason.Code, parsed bool) {
	server := newTestServer()
	c := newTestConn(conn)
	ctx := &fasthttp.RequestCtx{}
	ctx.Init2(c, noLog{}, false)
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(c, server.fast.ReadBufferSize)); err != nil {
		return nil, reason.BadRequest, false
	}
	hideBody(&ctx.Request.Header)
	s = server.parsed(ctx)
	return s, s.Guard(testLimits), true
}

// endOf returns a stream as the road has it.
func endOf(s *Stream) ends.Stream { return ends.Stream{Exchange: &s.Exchange, ClientEnd: s} }

// testMaxHeader is the largest response header of the tests: two doublings above the buffer of 64
// KiB.
const testMaxHeader = 200 << 10

// readResponse reads the response up to its final header, as the answer to a request.
func readResponse(conn net.Conn, request message.Request) (*Call, error) {
	timed := wire.Over(conn)
	s := &Stream{Exchange: ends.Exchange{Request: request, Limits: testLimits}}
	c := &Call{stream: endOf(s), conn: &timed}
	c.Init()
	c.limits.MaxHeader = testMaxHeader
	c.in.conn = &timed
	for {
		if err := c.readHeader(); err != nil {
			return c, err
		}
		if c.checkHead() != reason.None {
			return c, errResponseHeader
		}
		if !c.Interim() {
			return c, nil
		}
	}
}

// relay sends a response as the road does, without fields of its own.
func relay(s *Stream, c *Call) reason.Code {
	s.EndHeader(c.Response.AppendHeader(s.Begin(c.Response.Framing, c.Uploaded()), s.chunks(), 0, nil), c.Response.Status)
	next := func() (n int, err error) {
		room := s.Room()
		b, err := c.Next(room)
		if s.Add(b); c.Ended() && err == nil {
			s.EndBody(&c.Response, c.Trailers())
		}
		return len(b) - len(room), err
	}
	var err error
	if c.Ready() {
		var n int
		if n, err = next(); err != nil && n == 0 {
			return c.Failure(err)
		}
	}
	for {
		if why := s.Flush(); why != reason.None {
			return why
		}
		switch {
		case err != nil:
			return c.Break(err)
		case c.Ended():
			return reason.None
		}
		_, err = next()
	}
}

// startRefusing serves on a free port until the test ends, and refuses each request for the guard's
// reason or, if there is none, with no_backend.
func startRefusing(t *testing.T, o Options) (s *Server, address string) {
	t.Helper()
	o.Proxied = func(netip.Addr) bool { return false }
	o.Handle = func(s ends.Stream) {
		why := s.Guard(testLimits)
		if why == reason.None {
			why = reason.NoBackend
		}
		refuse(s, why)
		s.End()
	}
	return startServer(t, o)
}

// refuse answers with a reason.
func refuse(s ends.Stream, why reason.Code) {
	if header, ok := s.BeginAnswer(why); ok {
		s.EndAnswer(header, why)
	}
}

// startServer serves on a free port until the test ends.
func startServer(t *testing.T, o Options) (s *Server, address string) {
	t.Helper()
	return startServerAt(t, o, nil)
}

// startServerAt is startServer with TLS, unless that is nil.
func startServerAt(t *testing.T, o Options, secure *tls.Config) (s *Server, address string) {
	t.Helper()
	o.IdleTimeout, o.ShutdownTimeout, o.MaxHeaderSize, o.Log = time.Minute, time.Second, 16<<10, zerolog.Nop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, served := NewServer(o), make(chan error, 1)
	go func() { served <- serveAndDrain(ctx, s, Front{Listener: ln, TLS: secure}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, ln.Addr().String()
}

// serveAndDrain serves until ctx ends, and finishes what is under way.
func serveAndDrain(ctx context.Context, s *Server, front Front) error {
	if err := s.Serve(ctx, front); err != nil {
		return err
	}
	return s.Drain()
}
