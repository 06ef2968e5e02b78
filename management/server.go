package management

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy"
	"loadbalancer/proxy/metrics"
)

// Server answers the management listener: the API, the metrics and the state of health. It is safe
// for concurrent use.
type Server struct {
	router     *router.Router // what is not the API
	api        *API
	balancer   *proxy.Proxy
	limits     *limiter.Limiter
	reload     Reload
	logDropped func() uint64 // log lines not written
	log        zerolog.Logger
}

// New returns a server that reports on the balancer and the limits. logDropped returns how many log
// lines were not written.
func New(api *API, balancer *proxy.Proxy, limits *limiter.Limiter, reload Reload, logDropped func() uint64, log zerolog.Logger) *Server {
	m := &Server{newRouter(log), api, balancer, limits, reload, logDropped, log}
	m.router.GET("/healthz", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") })
	m.router.GET("/readyz", m.readyz)
	m.router.GET("/metrics", m.metrics)
	return m
}

// handle answers any request on the management listener.
func (m *Server) handle(ctx *fasthttp.RequestCtx) {
	defer drainBody(ctx)
	// The routers go by the path as it was sent, too.
	if bytes.HasPrefix(ctx.URI().PathOriginal(), []byte(apiPrefix)) {
		m.api.serve(ctx)
		return
	}
	route(ctx, m.router)
}

// maxDrain bounds what is read of a request's body after it was answered.
const maxDrain = 16 << 20

// drainBody reads what the handler has left of the body: closing the connection on a client that
// still sends could destroy the answer before it is read.
func drainBody(ctx *fasthttp.RequestCtx) {
	if body := ctx.RequestBodyStream(); body != nil {
		_, _ = io.CopyN(io.Discard, body, maxDrain)
	}
}

func (m *Server) readyz(ctx *fasthttp.RequestCtx) {
	if err := m.balancer.Ready(); err != nil {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("not ready: " + err.Error() + "\n")
		return
	}
	ctx.SetBodyString("ready\n" + m.reload.Last().warning())
}

func (m *Server) metrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	w := ctx.Response.BodyWriter()
	m.balancer.WriteMetrics(w)
	metrics.Single(w, "lb_tracked_clients", "gauge", "Unregistered clients with a bucket.", m.limits.Tracked())
	metrics.Single(w, "lb_overflow_requests_total", "counter", "Requests of unregistered clients decided by a bucket that they share, since limiter.max_tracked others were in debt.", m.limits.Overflowed())
	metrics.Single(w, "lb_clients", "gauge", "Registered clients.", m.limits.Registered())
	metrics.Family(w, "lb_api_requests_total", "counter", "Calls of the API by status, on both listeners.")
	m.api.codes.Write(w, "lb_api_requests_total", "")
	metrics.Single(w, "lb_api_denied_total", "counter", "Calls of the API refused for want of access, with 401, 403 or 429.", m.api.access.denied.Load())
	metrics.Single(w, "lb_log_dropped_total", "counter", "Log lines dropped because their reader was too slow, or because they could not be written.", m.logDropped())
	m.reload.Last().write(w)
	metrics.WriteRuntime(w)
}

// timeout bounds a request and an idle connection of the management side.
const timeout = 30 * time.Second

// The time that calls get at the end.
const (
	grace  = 3 * time.Second        // to be answered: as long as the store may take for one
	unsent = 100 * time.Millisecond // for what is missing of a request; the successor waits for the store
)

// Serve answers on the listener until ctx ends, and then finishes what is under way: calls get a
// moment to be sent, and 3 seconds to be answered. It returns an error where the listener fails
// before that.
func (m *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &fasthttp.Server{
		Handler:               m.handle,
		ReadBufferSize:        16 << 10,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		IdleTimeout:           timeout,
		StreamRequestBody:     true,
		NoDefaultServerHeader: true,
		CloseOnShutdown:       true,
		Logger:                noLog{},
	}
	callers := newCallers(ln)
	served := make(chan error, 1)
	go func() { served <- server.Serve(callers) }()
	select {
	case err := <-served:
		return fmt.Errorf("accept connections on management.listen (%s): %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	// Closed here too: a shutdown before Serve has begun knows of no listener.
	_ = ln.Close()
	<-served
	callers.endReads(time.Now().Add(unsent))
	bounded, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = server.ShutdownWithContext(bounded) // what is not done by then is cut with the process
	return nil
}

// noLog drops fasthttp's own log lines, which tell of broken connections.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
