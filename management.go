package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	_ "embed"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/proxy"
)

// managementConfig is the section management.
type managementConfig struct {
	Listen     string `yaml:"listen"` // "" turns the listener off
	APIOnProxy bool   `yaml:"api_on_proxy"`
	Token      string `yaml:"token"`
}

// validate calls wrong once for each fault, with its path below management.
func (c managementConfig) validate(wrong func(path string, value any, allowed string)) {
	if c.Listen != "" {
		if err := proxy.CheckListen(c.Listen); err != nil {
			wrong("listen", c.Listen, err.Error()+`, or "" to turn it off`)
		}
	}
}

// apiHandler answers the requests below /v1/api/.
type apiHandler = fasthttp.RequestHandler

// management answers the operator: the API, the metrics and the state of health.
type management struct {
	config   managementConfig
	router   *router.Router
	balancer *proxy.Proxy
	limits   *limiter.Limiter
	log      zerolog.Logger
}

//go:embed docs/swagger.yaml
var swagger []byte

// newManagement is given no service if the API is not served.
func newManagement(c managementConfig, service *clients.Service, log zerolog.Logger) *management {
	m := &management{config: c, router: router.New(), log: log}
	r := m.router
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	r.NotFound, r.MethodNotAllowed, r.PanicHandler = notFound, methodNotAllowed, m.survive
	if service != nil {
		service.Register(r)
	}
	r.GET("/v1/api/swagger.yaml", clients.Parameters(func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/yaml")
		ctx.SetBody(swagger)
	}))
	r.GET("/healthz", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") })
	r.GET("/readyz", m.readyz)
	r.GET("/metrics", m.metrics)
	return m
}

func notFound(ctx *fasthttp.RequestCtx) {
	clients.WriteProblem(ctx, fasthttp.StatusNotFound, "", "nothing is served at this path")
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
	clients.WriteProblem(ctx, fasthttp.StatusMethodNotAllowed, "", "this path does not support the method; Allow lists those it does")
}

// survive answers a request whose handler met a fault: fasthttp would let it end
// the process, and the traffic with it.
func (m *management) survive(ctx *fasthttp.RequestCtx, fault any) {
	m.log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
		Msg("a request to the management side met an error of the load balancer's own, please report this")
	ctx.Response.Reset()
	clients.WriteProblem(ctx, fasthttp.StatusInternalServerError, "", "an error of the load balancer's own; its log says which")
}

// observe gives the management side what it reports on. It has to be called
// before it serves.
func (m *management) observe(balancer *proxy.Proxy, limits *limiter.Limiter) {
	m.balancer, m.limits = balancer, limits
}

// apiOnProxy is the handler for /v1/api/ on the proxy's listener, or nil.
func (m *management) apiOnProxy() apiHandler {
	if !m.config.APIOnProxy {
		return nil
	}
	return m.handle
}

// handle answers any request of the management side.
func (m *management) handle(ctx *fasthttp.RequestCtx) {
	defer drainBody(ctx)
	// The path as it was sent is the one that the router goes by.
	if bytes.HasPrefix(ctx.URI().PathOriginal(), []byte("/v1/api/")) && !m.mayManage(ctx) {
		return
	}
	if ctx.IsHead() { // answered as GET; the server leaves the body out (RFC 9110, section 9.3.2)
		ctx.Request.Header.SetMethod(fasthttp.MethodGet)
		defer ctx.Request.Header.SetMethod(fasthttp.MethodHead)
	}
	m.router.Handler(ctx)
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

// mayManage lets the bearer of the token in and, because who is on the machine
// could read the config anyway, a loopback peer that speaks for itself. Everybody
// else gets his answer here.
func (m *management) mayManage(ctx *fasthttp.RequestCtx) bool {
	scheme, given, _ := bytes.Cut(ctx.Request.Header.Peek("Authorization"), []byte(" "))
	if bytes.EqualFold(scheme, []byte("Bearer")) && m.config.Token != "" && subtle.ConstantTimeCompare(given, []byte(m.config.Token)) == 1 {
		return true
	}
	if fromLoopback(ctx) {
		return true
	}
	if m.config.Token == "" {
		clients.WriteProblem(ctx, fasthttp.StatusForbidden, "", "only peers on this machine may use the API; set management.token to let others in")
		return false
	}
	ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="management"`)
	clients.WriteProblem(ctx, fasthttp.StatusUnauthorized, "", "the API wants the header Authorization: Bearer TOKEN with the token of management.token")
	return false
}

// fromLoopback reports whether a request comes from this machine and was not
// passed on for somebody else: neither by a proxy nor by a browser that shows
// another site's page. That page's host, or its Origin, gives it away.
func fromLoopback(ctx *fasthttp.RequestCtx) bool {
	if proxy.Forwarded(ctx) {
		return false
	}
	if peer, ok := ctx.RemoteAddr().(*net.TCPAddr); ok && !peer.IP.IsLoopback() {
		return false
	}
	h := &ctx.Request.Header
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via", "Origin"} {
		if len(h.Peek(name)) > 0 {
			return false
		}
	}
	host := string(h.Host())
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil
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
	fmt.Fprintf(w, "# HELP lb_tracked_clients Unregistered clients with a bucket.\n# TYPE lb_tracked_clients gauge\nlb_tracked_clients %d\n", m.limits.Tracked())
	fmt.Fprintf(w, "# HELP lb_overflow_requests_total Requests of unregistered clients decided by a bucket that they share, since limiter.max_tracked others were in debt.\n# TYPE lb_overflow_requests_total counter\nlb_overflow_requests_total %d\n", m.limits.Overflowed())
	fmt.Fprintf(w, "# HELP lb_clients Registered clients.\n# TYPE lb_clients gauge\nlb_clients %d\n", m.limits.Registered())
	metrics.WriteProcessMetrics(w)
}

// open opens the management listener; nil when it is turned off.
func (c managementConfig) open(log zerolog.Logger) (net.Listener, error) {
	if c.Listen == "" {
		return nil, nil
	}
	return listen("management.listen", c.Listen, log)
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
