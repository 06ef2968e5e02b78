// Package backend is a fake backend: an HTTP server that names itself in every response, and that
// can be slow, faulty or verbose on request. The bench command and the load balancer's demo serve
// it.
//
// Bodies of any size take constant memory in both directions, and when Serve returns, every
// connection is closed. The package knows nothing of load balancers or measurements.
package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// MaxBodySize is the largest body that a backend sends: 1 TiB.
	MaxBodySize = 1 << 40

	// shutdownGrace is how long responses in flight may last once the context has ended.
	shutdownGrace = 2 * time.Second
	// streamAbove is the body size above which a body is generated while it is sent, instead of
	// held in memory.
	streamAbove = 64 << 10
)

// Options says how a backend responds. The zero value answers 200 at once, with the address of the
// listener.
type Options struct {
	// Name is in the body and in the X-Backend header. If it is empty, the address of the listener
	// is used.
	Name string
	// Delay is the wait before each response, except those to /healthz. 0 means none.
	Delay time.Duration
	// ErrorRate is the fraction of requests, 0 to 1, that get a 500. /healthz is never among them.
	ErrorRate float64
	// BodySize is the size of each body in bytes, 0 to MaxBodySize. 0 means just the name.
	BodySize int64
}

// Validate returns an error that names the first option that is out of range.
func (o Options) Validate() error {
	switch {
	case o.Delay < 0:
		return fmt.Errorf("delay=%s: must be 0 or more, such as 20ms", o.Delay)
	case !(o.ErrorRate >= 0 && o.ErrorRate <= 1): // this way round, so that NaN is refused
		return fmt.Errorf("error_rate=%v: must be a fraction from 0 to 1, such as 0.05", o.ErrorRate)
	case o.BodySize < 0 || o.BodySize > MaxBodySize:
		return fmt.Errorf("body_size=%d: must be from 0 to %d bytes, such as 64KiB", o.BodySize, int64(MaxBodySize))
	}
	return nil
}

// Serve serves the listener until ctx ends, and returns nil once every connection is closed.
// Responses in flight get two seconds to end; then their connections are cut. Serve always closes
// the listener. Request bodies are read to the end and discarded. Bodies of any size take constant
// memory, in both directions.
//
// GET /healthz gets a 200 whatever the options. GET /stream?bytes=N gets N bytes. Everything else
// is answered as the options say.
func Serve(ctx context.Context, ln net.Listener, o Options) error {
	defer func() { _ = ln.Close() }()
	if err := o.Validate(); err != nil {
		return fmt.Errorf("serve backend on %s: %w", ln.Addr(), err)
	}
	if o.Name == "" {
		o.Name = ln.Addr().String()
	}
	conns := &connections{open: map[net.Conn]struct{}{}}
	server := newServer(newHandler(ctx, o).serve, conns)

	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		conns.closeAll()
		if err == nil {
			err = net.ErrClosed
		}
		return errors.Join(fmt.Errorf("serve backend on %s: %w", ln.Addr(), err), server.Shutdown())
	case <-ctx.Done():
	}

	// Closed here too: a Shutdown before Serve has begun knows no listener to close.
	_ = ln.Close()
	<-served
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.ShutdownWithContext(grace); errors.Is(err, context.DeadlineExceeded) {
		conns.closeAll()
		_ = server.Shutdown() // its only error is that the listener is closed already
	}
	return nil
}

func newServer(handler fasthttp.RequestHandler, conns *connections) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      handler,
		ConnState:                    conns.track,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		CloseOnShutdown:              true,
		ReadBufferSize:               32 << 10, // a backend should not be the one to reject a long header
		Logger:                       silent{},
	}
}

// handler answers requests. It is read-only after newHandler, so that connections can share it.
type handler struct {
	options Options
	stop    <-chan struct{}
	label   []byte // "backend NAME\n", the start of every body
	body    []byte // the whole body, nil when it is streamed
}

func newHandler(ctx context.Context, o Options) *handler {
	h := &handler{options: o, stop: ctx.Done(), label: []byte("backend " + o.Name + "\n")}
	switch {
	case o.BodySize == 0:
		h.body = h.label
	case o.BodySize <= streamAbove:
		h.body = make([]byte, o.BodySize)
		_, _ = io.ReadFull(newFiller(h.label, o.BodySize), h.body) // the filler is exactly that long
	}
	return h
}

func (h *handler) serve(ctx *fasthttp.RequestCtx) {
	if stream := ctx.RequestBodyStream(); stream != nil {
		if _, err := io.Copy(io.Discard, stream); err != nil {
			ctx.SetConnectionClose() // the rest of the body cannot be told from the next request
		}
	}
	ctx.Response.Header.SetContentType("text/plain")
	ctx.Response.Header.Set("X-Backend", h.options.Name)

	switch string(ctx.Path()) {
	case "/healthz":
		ctx.Response.SetBodyString("ok\n")
		return
	case "/stream":
		h.wait()
		h.stream(ctx)
		return
	}
	h.wait()
	if h.options.ErrorRate > 0 && rand.Float64() < h.options.ErrorRate {
		ctx.Response.SetStatusCode(fasthttp.StatusInternalServerError)
	}
	h.respond(ctx)
}

// wait waits for the delay, or until the server stops.
func (h *handler) wait() {
	if h.options.Delay == 0 {
		return
	}
	timer := time.NewTimer(h.options.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.stop:
	}
}

func (h *handler) respond(ctx *fasthttp.RequestCtx) {
	if h.body != nil {
		ctx.Response.SetBodyRaw(h.body)
		return
	}
	ctx.Response.SetBodyStream(newFiller(h.label, h.options.BodySize), int(h.options.BodySize))
}

func (h *handler) stream(ctx *fasthttp.RequestCtx) {
	size, err := ctx.QueryArgs().GetUint("bytes")
	if err != nil || size > MaxBodySize {
		ctx.Response.SetStatusCode(fasthttp.StatusBadRequest)
		ctx.Response.SetBodyString(fmt.Sprintf("bytes must be a whole number from 0 to %d\n", int64(MaxBodySize)))
		return
	}
	ctx.Response.SetBodyStream(newFiller(h.label, int64(size)), size)
}

// connections tracks a server's open connections, to cut those that outlast the grace.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (c *connections) track(conn net.Conn, state fasthttp.ConnState) {
	if state != fasthttp.StateNew && state != fasthttp.StateClosed {
		return // StateActive and StateIdle come with every request: no lock for them
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == fasthttp.StateNew {
		c.open[conn] = struct{}{}
	} else {
		delete(c.open, conn)
	}
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
}

// silent drops the server's log: in a load test clients are expected to go away.
type silent struct{}

func (silent) Printf(string, ...any) {}
