package backend

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// handler answers requests. It is read-only after newHandler but for its control, so that
// connections can share it.
type handler struct {
	options Options
	control *control
	stop    <-chan struct{}
	label   []byte // "backend NAME\n", the start of every body
	body    []byte // the whole body, nil when it is streamed
}

func newHandler(ctx context.Context, o Options) *handler {
	h := &handler{options: o, control: newControl(), stop: ctx.Done(), label: []byte("backend " + o.Name + "\n")}
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
	// What a proxy forwards is for the server behind it: its clients do not control that.
	if string(ctx.Path()) == "/control" && len(ctx.Request.Header.Peek("X-Forwarded-For")) == 0 {
		h.serveControl(ctx)
		return
	}
	if stream := ctx.RequestBodyStream(); stream != nil {
		if _, err := io.Copy(io.Discard, stream); err != nil {
			ctx.SetConnectionClose() // the rest of the body cannot be told from the next request
		}
	}
	ctx.Response.Header.SetContentType("text/plain")
	ctx.Response.Header.Set("X-Backend", h.options.Name)
	check := string(ctx.Path()) == "/healthz"
	if !check {
		h.control.requests.Add(1)
	}
	if f := h.control.fault.Load(); f.hits(check) && h.fail(ctx, f) {
		return
	}

	switch string(ctx.Path()) {
	case "/healthz":
		ctx.Response.SetBodyString("ok\n")
		return
	case "/stream":
		wait(h.stop, h.options.Delay)
		h.stream(ctx)
		return
	}
	wait(h.stop, h.options.Delay)
	if h.options.ErrorRate > 0 && rand.Float64() < h.options.ErrorRate {
		ctx.Response.SetStatusCode(fasthttp.StatusInternalServerError)
	}
	h.respond(ctx)
}

// serveControl shows the fault or changes it.
func (h *handler) serveControl(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Method()) {
	case fasthttp.MethodPut:
		f, err := parseFault(ctx.RequestBodyStream())
		if err != nil {
			ctx.Error(err.Error()+"\n", fasthttp.StatusBadRequest)
			ctx.SetConnectionClose() // the body may be unread
			return
		}
		h.control.set(f)
	case fasthttp.MethodGet:
	default:
		ctx.Error("/control takes GET and PUT\n", fasthttp.StatusMethodNotAllowed)
		return
	}
	state, err := h.control.state()
	if err != nil {
		ctx.Error(err.Error(), fasthttp.StatusInternalServerError)
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(state, '\n'))
}

// fail does what the fault says, and reports whether that was the whole answer.
func (h *handler) fail(ctx *fasthttp.RequestCtx, f *Fault) bool {
	switch f.Kind {
	case Fail:
		ctx.Response.SetStatusCode(f.Status)
		h.respond(ctx)
	case Stall:
		ctx.Response.ImmediateHeaderFlush = true
		size := max(h.options.BodySize, int64(len(h.label)))
		ctx.Response.SetBodyStream(&stalled{h.until(f), newFiller(h.label, size)}, int(size))
	case Reset:
		if conn, ok := ctx.Conn().(*net.TCPConn); ok {
			_ = conn.SetLinger(0)
		}
		_ = ctx.Conn().Close()
	case Close:
		_ = ctx.Conn().Close()
	case Slow:
		wait(h.stop, time.Duration(f.Delay))
		return false
	case Hang:
		h.until(f)()
		return false
	default: // on its way to a restart
		return false
	}
	return true
}

// until returns a function that waits until the fault ends or the server stops.
func (h *handler) until(f *Fault) func() {
	return func() {
		select {
		case <-f.over:
		case <-h.stop:
		}
	}
}

// stalled is a body that waits before its first byte.
type stalled struct {
	wait func()
	body io.Reader
}

// Read implements io.Reader.
func (s *stalled) Read(p []byte) (int, error) {
	s.wait()
	return s.body.Read(p)
}

// wait waits for so long, or until the server stops.
func wait(stop <-chan struct{}, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
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
