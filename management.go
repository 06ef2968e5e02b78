package main

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
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/metrics"
)

// managementConfig is the section management.
type managementConfig struct {
	Listen     listen.Address `yaml:"listen"` // the zero value turns the listener off
	APIOnProxy bool           `yaml:"api_on_proxy"`
	Token      plainToken     `yaml:"token"` // has all rights; "": there is none
	Tokens     tokenConfigs   `yaml:"tokens"`
}

// validate calls wrong once for each fault, with its path below management.
func (c managementConfig) validate(wrong func(path string, value any, allowed string)) {
	c.Tokens.validate(wrong)
}

// management answers the operator: the API, the metrics and the state of health.
type management struct {
	config     managementConfig
	router     *router.Router // what is not the API
	api        *api
	balancer   *proxy.Proxy
	limits     *limiter.Limiter
	logDropped func() uint64 // log lines not written
	log        zerolog.Logger
}

// newManagement makes the management side.
func newManagement(c managementConfig, api *api, balancer *proxy.Proxy, limits *limiter.Limiter, logDropped func() uint64, log zerolog.Logger) *management {
	m := &management{c, newRouter(log), api, balancer, limits, logDropped, log}
	m.router.GET("/healthz", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") })
	m.router.GET("/readyz", m.readyz)
	m.router.GET("/metrics", m.metrics)
	return m
}

// handle answers any request on the management listener.
func (m *management) handle(ctx *fasthttp.RequestCtx) {
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

// drainBody reads what the handler has left of the body: closing the connection
// on a client that still sends could destroy the answer before it is read.
func drainBody(ctx *fasthttp.RequestCtx) {
	if body := ctx.RequestBodyStream(); body != nil {
		_, _ = io.CopyN(io.Discard, body, maxDrain)
	}
}

func (m *management) readyz(ctx *fasthttp.RequestCtx) {
	if err := m.balancer.Ready(); err != nil {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("not ready: " + err.Error() + "\n")
		return
	}
	ctx.SetBodyString("ready\n")
}

func (m *management) metrics(ctx *fasthttp.RequestCtx) {
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
	metrics.WriteRuntime(w)
}

// managementSocketMode is that of management.listen: a peer on a unix socket has all rights without
// a token.
const managementSocketMode listen.Mode = 0o600

// open opens the management listener; nil when it is turned off.
func (c managementConfig) open(log zerolog.Logger) (net.Listener, error) {
	if c.Listen.IsZero() {
		return nil, nil
	}
	return listen.Open("management.listen", c.Listen, managementSocketMode, log)
}

// managementTimeout bounds a request and an idle connection of the management side.
const managementTimeout = 30 * time.Second

// managementGrace is what the calls under way get at the end: as long as the store
// may take for one. Half a request must not hold up the end for longer.
const managementGrace = 3 * time.Second

// serve answers on the listener until ctx ends, then finishes what is under way.
func (m *management) serve(ctx context.Context, ln net.Listener) error {
	server := &fasthttp.Server{
		Handler:               m.handle,
		ReadBufferSize:        16 << 10,
		ReadTimeout:           managementTimeout,
		WriteTimeout:          managementTimeout,
		IdleTimeout:           managementTimeout,
		StreamRequestBody:     true,
		NoDefaultServerHeader: true,
		CloseOnShutdown:       true,
		Logger:                noLog{},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("accept connections on management.listen (%s): %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	// Closed here too: a shutdown before Serve has begun knows of no listener.
	_ = ln.Close()
	<-served
	bounded, cancel := context.WithTimeout(context.Background(), managementGrace)
	defer cancel()
	_ = server.ShutdownWithContext(bounded) // what is not done by then is cut with the process
	return nil
}

// noLog drops fasthttp's own log lines, which tell of broken connections.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
