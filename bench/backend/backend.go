// Package backend is a fake backend: an HTTP server that names itself in every response, and that
// can be slow, faulty or verbose, from the start or from when it is told over HTTP. The bench
// command and the load balancer's demo serve it.
//
// Bodies of any size take constant memory in both directions, and when Serve returns, every
// connection is closed. The package knows nothing of load balancers or measurements.
package backend

import (
	"context"
	"errors"
	"fmt"
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
// GET /healthz gets a 200 whatever the options. GET /stream?bytes=N gets N bytes. GET /control
// shows the Fault of the backend, and PUT /control changes it. Everything else is answered as the
// options and the fault say.
func Serve(ctx context.Context, ln net.Listener, o Options) error {
	address := ln.Addr()
	if err := o.Validate(); err != nil {
		_ = ln.Close()
		return fmt.Errorf("serve backend on %s: %w", address, err)
	}
	if o.Name == "" {
		o.Name = address.String()
	}
	h := newHandler(ctx, o)
	defer h.control.set(newFault())
	for {
		restart, err := serveUntil(ctx, ln, h)
		if err != nil {
			return fmt.Errorf("serve backend on %s: %w", address, err)
		}
		if restart == nil {
			return nil
		}
		if wait(ctx.Done(), time.Duration(restart.For)); ctx.Err() != nil {
			return nil
		}
		var config net.ListenConfig
		if ln, err = config.Listen(context.WithoutCancel(ctx), address.Network(), address.String()); err != nil {
			return fmt.Errorf("serve backend on %s again: %w", address, err)
		}
		h.control.end(restart)
	}
}

// serveUntil serves the listener until ctx ends or the backend is told to restart, and closes it
// and every connection. It returns the fault that restarts the backend, or nil.
func serveUntil(ctx context.Context, ln net.Listener, h *handler) (restart *Fault, err error) {
	conns := &connections{open: map[net.Conn]struct{}{}}
	server := newServer(h.serve, conns)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		_ = ln.Close()
		conns.closeAll()
		if err == nil {
			err = net.ErrClosed
		}
		return nil, errors.Join(err, server.Shutdown())
	case restart = <-h.control.restarts:
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
	return restart, nil
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
