package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients"
	"loadbalancer/clients/rest"
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

// apiHandler answers the requests below /v1/api/.
type apiHandler = fasthttp.RequestHandler

// management answers the operator: the API, the metrics and the state of health.
type management struct {
	config   managementConfig
	router   *router.Router // what needs no access
	api      *router.Router // what is below apiPrefix
	access   *access
	balancer *proxy.Proxy
	limits   *limiter.Limiter
	log      zerolog.Logger

	logDropped func() uint64 // log lines not written
}

// The paths of the API, and of its description.
const (
	apiPrefix   = "/v1/api/"
	swaggerPath = apiPrefix + "swagger.yaml"
)

//go:embed docs/swagger.yaml
var swagger []byte

// newManagement makes the management side. clientIPHeader is the field that trusted
// proxies tell the client's address in. service is nil if the API is not served.
func newManagement(c managementConfig, clientIPHeader string, service *clients.Service, log zerolog.Logger) *management {
	m := &management{config: c, log: log}
	m.access = &access{tokens: c.credentials(), clientIPHeader: clientIPHeader, log: log}
	m.router, m.api = m.newRouter(), m.newRouter()
	if service != nil {
		service.Register(m.api)
	}
	m.api.GET(swaggerPath, rest.Parameters(func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/yaml")
		ctx.SetBody(swagger)
	}))
	m.router.GET("/healthz", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") })
	m.router.GET("/readyz", m.readyz)
	m.router.GET("/metrics", m.metrics)
	return m
}

func (m *management) newRouter() *router.Router {
	r := router.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	r.NotFound, r.MethodNotAllowed, r.PanicHandler = notFound, methodNotAllowed, m.survive
	return r
}

func notFound(ctx *fasthttp.RequestCtx) {
	rest.WriteProblem(ctx, fasthttp.StatusNotFound, "", "nothing is served at this path")
}

func methodNotAllowed(ctx *fasthttp.RequestCtx) {
	var allow []string
	for method := range strings.SplitSeq(string(ctx.Response.Header.Peek("Allow")), ", ") {
		switch method {
		case fasthttp.MethodOptions: // the router adds it unasked
		case fasthttp.MethodGet:
			allow = append(allow, method, fasthttp.MethodHead)
		default:
			allow = append(allow, method)
		}
	}
	ctx.Response.Header.Set("Allow", strings.Join(allow, ", "))
	rest.WriteProblem(ctx, fasthttp.StatusMethodNotAllowed, "", "this path does not support the method; Allow lists those it does")
}

// survive answers a request whose handler met a fault: fasthttp would let it end
// the process, and the traffic with it.
func (m *management) survive(ctx *fasthttp.RequestCtx, fault any) {
	m.log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
		Msg("a request to the management side met an error of the load balancer's own, please report this")
	ctx.Response.Reset()
	rest.WriteProblem(ctx, fasthttp.StatusInternalServerError, "", "an error of the load balancer's own; its log says which")
}

// observe gives the management side what it reports on. It has to be called
// before it serves.
func (m *management) observe(balancer *proxy.Proxy, limits *limiter.Limiter) {
	m.balancer, m.limits = balancer, limits
}

// apiOnProxy is the handler for /v1/api/ on the proxy's listener, or nil. It is for
// calls that mayUseAPI has let through.
func (m *management) apiOnProxy() apiHandler {
	if !m.config.APIOnProxy {
		return nil
	}
	return func(ctx *fasthttp.RequestCtx) { route(ctx, m.api) }
}

// mayUseAPI reports whether a call may use the API, and answers it if not.
func (m *management) mayUseAPI(ctx *fasthttp.RequestCtx) bool {
	return m.access.allows(ctx, m.balancer)
}

// handle answers any request on the management listener. The API has a router of its
// own, so that no path leads to one of its handlers past the check.
func (m *management) handle(ctx *fasthttp.RequestCtx) {
	defer drainBody(ctx)
	path := ctx.URI().PathOriginal() // the routers go by the path as it was sent, too
	if !bytes.HasPrefix(path, []byte(apiPrefix)) {
		route(ctx, m.router)
		return
	}
	describes := (ctx.IsGet() || ctx.IsHead()) && (string(path) == apiPrefix || string(path) == swaggerPath)
	if describes || m.mayUseAPI(ctx) {
		route(ctx, m.api)
	}
	m.balancer.CountAPI(ctx.Response.StatusCode())
}

// route has a router answer. HEAD is answered as GET; the server leaves the body out
// (RFC 9110, section 9.3.2).
func route(ctx *fasthttp.RequestCtx, r *router.Router) {
	if ctx.IsHead() {
		ctx.Request.Header.SetMethod(fasthttp.MethodGet)
		defer ctx.Request.Header.SetMethod(fasthttp.MethodHead)
	}
	r.Handler(ctx)
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
	metrics.Single(w, "lb_api_denied_total", "counter", "Calls of the API refused for want of access, with 401, 403 or 429.", m.access.denied.Load())
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
