package http1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// Options are the parts of a Server. Handle is called concurrently. TurnedAway and Proxied are
// called by the goroutine that accepts connections, and hold it up.
type Options struct {
	Bounds
	MaxHeaderSize int // bytes

	// Handle takes each request, even one that could not be read: then its Guard returns the
	// reason. It must call the stream's End, and must not panic.
	Handle func(ends.Stream)
	// TurnedAway is called for each connection beyond MaxConnections, with its peer, how long the
	// answer took, and how many bytes of it were sent.
	TurnedAway func(peer netip.Addr, took time.Duration, sent int)
	// HTTP2 serves a connection whose client speaks HTTP/2 until that ends; nil: none does.
	HTTP2 func(ends.Conn)
	// Proxied reports whether the connections of a peer must begin with a PROXY header.
	Proxied func(peer netip.Addr) bool

	Log zerolog.Logger
}

// Server accepts connections and hands each request on them to a handler. It is safe for concurrent
// use.
type Server struct {
	options    Options // without the bounds
	bounds     atomic.Pointer[Bounds]
	fast       fasthttp.Server
	conns      connSet
	activity   activity
	handshakes handshakes
	fronts     []*listener  // set by Serve
	returned   atomic.Int64 // connections that were parked, and are served again

	ending          atomic.Bool
	closeDepartures func() // set by Serve
}

// NewServer returns a Server. It starts nothing.
func NewServer(o Options) *Server {
	s := &Server{
		options: o,
		conns:   newConnSet(),
	}
	s.handshakes.gate, s.handshakes.log = wire.NewGate(runtime.GOMAXPROCS(0)*3/4), o.Log
	s.SetBounds(o.Bounds)
	s.activity.Log = o.Log
	s.configure()
	return s
}

// SetBounds replaces the bounds. Open connections go by the new ones from their next wait on;
// connections over a smaller MaxConnections stay open.
func (s *Server) SetBounds(b Bounds) {
	s.bounds.Store(&b)
	s.activity.Buffers.Set(b.Buffers)
}

// writeBufferSize is the size of fasthttp's buffer for a connection's responses. Only those that
// RequestCtx gives pass through it: all others are written directly.
const writeBufferSize = 1 << 10

// configure sets up fasthttp so that it leaves requests as they are.
func (s *Server) configure() {
	f := &s.fast
	f.Handler = s.handle
	f.ErrorHandler = s.refuse
	f.HeaderReceived = hideBody
	f.ConnState = s.changed
	f.Logger = noLog{}
	f.ReadBufferSize = s.options.MaxHeaderSize
	f.WriteBufferSize = writeBufferSize
	f.Concurrency = 1 << 30 // the listener limits connections
	f.StreamRequestBody = true
	f.DisablePreParseMultipartForm = true
	f.NoDefaultServerHeader = true
	f.NoDefaultDate = true
	f.NoDefaultContentType = true
	f.LazyRequestTime = true
	f.CloseOnShutdown = true
	f.SecureErrorLogMessage = true
	if s.options.HTTP2 != nil {
		f.NextProto(protocolHTTP2, s.serveHTTP2)
	}
}

// hideBody makes fasthttp believe that a request has no body, so that it neither reads the body nor
// sends 100 Continue; the stream does both. The guard reads the client's fields from the raw bytes
// of the header.
func hideBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const unspecified = -2
	h.Del(fasthttp.HeaderExpect)
	if h.ContentLength() != unspecified {
		h.SetContentLength(unspecified)
	}
	return fasthttp.RequestConfig{}
}

// Serve serves the connections that the fronts accept until ctx ends, and for the shutdown delay
// after that. It then closes their listeners, and from then on every response ends its connection;
// Drain must follow. If a listener fails before, Serve closes all and returns the error.
func (s *Server) Serve(ctx context.Context, fronts ...Front) (err error) {
	if s.closeDepartures, err = s.activity.departures.Open(); err != nil {
		return err
	}
	failed := make(chan error, len(fronts))
	var accepting sync.WaitGroup
	for _, f := range fronts {
		mayBeHTTP2 := f.Handle == nil // any other knows HTTP/1 alone
		if f.Handle == nil {
			f.Handle = s.options.Handle
		}
		s.fronts = append(s.fronts, &listener{Front: f, mayBeHTTP2: mayBeHTTP2, index: len(s.fronts), server: s, room: room(descriptors()), ends: make(chan struct{})})
	}
	for _, l := range s.fronts {
		accepting.Go(func() { failed <- fmt.Errorf("accept connections on %s: %w", l.Addr(), s.fast.Serve(l)) })
	}
	context.AfterFunc(ctx, func() { s.ending.Store(true) })
	select {
	case err = <-failed:
	case <-s.delayed(ctx):
		s.ending.Store(true) // the call above may come later
		s.activity.Draining.Store(true)
		s.conns.endReads()
	}
	for _, l := range s.fronts {
		_ = l.Close()
	}
	accepting.Wait()
	return err
}

// delayed returns a channel that is closed the shutdown delay after the end of ctx, which it logs
// with the cause.
func (s *Server) delayed(ctx context.Context) <-chan struct{} {
	over := make(chan struct{})
	context.AfterFunc(ctx, func() {
		delay := s.bounds.Load().ShutdownDelay
		s.options.Log.Info().Str("cause", context.Cause(ctx).Error()).Stringer("shutdown_delay", delay).Msg("shutting down")
		time.AfterFunc(delay, func() { close(over) })
	})
	return over
}

// Ending reports whether Serve was told to end.
func (s *Server) Ending() bool { return s.ending.Load() }

// Activity returns what is under way. A server of HTTP/2 shares it.
func (s *Server) Activity() *ends.Activity { return &s.activity.Activity }

// UnderWay returns the number of requests in flight, without tunnels, and the number of tunnels.
func (s *Server) UnderWay() (requests, tunnels int64) { return s.activity.UnderWay() }

// EachHandshakeFault calls f with how often each fault has occurred.
func (s *Server) EachHandshakeFault(f func(fault HandshakeFault, times uint64)) {
	for i := range s.handshakes.fault {
		f(HandshakeFault(i), s.handshakes.fault[i].Load())
	}
}

// Connections returns the number of open connections.
func (s *Server) Connections() int { return s.conns.len() }

// handle hands a request that fasthttp has parsed to the handler.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	s.activity.InFlight.Add(1)
	defer s.activity.InFlight.Add(-1)
	s.finish(s.parsed(ctx))
}

// parsed returns the stream of a request that fasthttp has parsed.
func (s *Server) parsed(ctx *fasthttp.RequestCtx) *Stream {
	stream := s.begin(ctx)
	stream.Started = ctx.Time()
	h, r := &ctx.Request.Header, &stream.Request
	r.Method, r.Target, r.Proto, r.Header = h.Method(), h.RequestURI(), h.Protocol(), h.RawHeaders()
	stream.closeIf(h.ConnectionClose())
	return stream
}

// finish hands the stream to the handler, and ends it.
func (s *Server) finish(stream *Stream) {
	s.fronts[stream.conn.front].Handle(ends.Stream{Exchange: &stream.Exchange, ClientEnd: stream})
	if stream.Ends() {
		stream.ctx.SetConnectionClose()
	}
	endStream(stream)
}

// changed is told by fasthttp how a connection fares, in the goroutine of the connection. Once
// fasthttp has let go of it, changed waits for what follows on a parked one.
func (s *Server) changed(conn net.Conn, state fasthttp.ConnState) {
	if state != fasthttp.StateClosed {
		return
	}
	c := conn.(*clientConn)
	if c.returns { // ServeConn tells it, too
		return
	}
	c.returns = true
	for c.parked.Load() {
		arrived := c.awaitNext()
		s.returned.Add(1) // before closeUnused could pass by
		if c.parked.Store(false); arrived {
			_ = s.fast.ServeConn(c)
		} else {
			_ = c.Close()
		}
		s.returned.Add(-1)
	}
}

// begin returns the stream of a request.
func (s *Server) begin(ctx *fasthttp.RequestCtx) *Stream {
	stream := streams.Get().(*Stream)
	stream.activity, stream.ctx, stream.conn = &s.activity, ctx, ctx.Conn().(*clientConn)
	stream.Activity, stream.Partner = &s.activity.Activity, &stream.conn.partner
	stream.conn.headerBy = time.Time{}
	if of := stream.conn.secured(); of != nil {
		stream.Request.Security = &of.Security
	}
	return stream
}

// refuse hands a request that fasthttp could not parse to the handler.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	if c := ctx.Conn().(*clientConn); c.unshaken != nil || c.scan == (headerScan{}) && !errors.Is(err, errProxyHeader) {
		c.answered = true // no byte has come: a client that only opens a connection gets no answer
		return
	}
	stream := s.begin(ctx)
	stream.Started = time.Now() // ctx may still hold the time of the previous request
	stream.refused, stream.Cause = refusal(stream.conn.scan.faulty, err)
	s.finish(stream)
}

// refusal returns why there is no request, and that in words. faulty is that of the header's scan.
func refusal(faulty bool, err error) (why reason.Code, cause error) {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case faulty: // whatever else went wrong
		return reason.BadRequest, errRequestLines
	case errors.As(err, &small):
		return reason.HeaderTooLarge, errHeaderSize
	case wire.TimedOut(err):
		return reason.RequestTimeout, errHeaderLate
	case errors.Is(err, net.ErrClosed):
		return reason.ClientGone, nil
	case errors.Is(err, errProxyHeader):
		return reason.BadRequest, errProxyHeader
	}
	return reason.BadRequest, parseFault(err)
}

// noLog drops fasthttp's log lines: broken connections and bad requests are counted and, if
// configured, in the access log.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
