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

	"loadbalancer/clients"
	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/metrics"
)

// Server answers the management listener: the API, the page, the metrics and the state of health. It
// is safe for concurrent use.
type Server struct {
	router *router.Router // what is not the API
	watch  *watch
	Parts
}

// Parts are what a Server serves and reports on.
type Parts struct {
	API        *API
	Balancer   *proxy.Proxy
	Limits     *limiter.Limiter
	Share      *limiter.Share   // nil: the limits are this instance's alone
	Clients    *clients.Service // nil: there is no store
	Reload     Reload
	TLS        *listen.TLS
	Starting   func() error  // what the start still waits for; nil once requests are served
	LogDropped func() uint64 // log lines not written
	Version    string        // of the binary
	ConfigPath string        // of the file
	Log        zerolog.Logger
}

// New returns a server of the parts.
func New(p Parts) *Server {
	m := &Server{router: newRouter(p.Log), watch: newWatch(time.Now()), Parts: p}
	m.router.GET("/healthz", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok\n") })
	m.router.GET("/readyz", m.readyz)
	m.router.GET("/metrics", p.API.page(m.metrics))
	p.API.router.POST(explainPath, rest.Handler(p.Log, m.explain))
	m.registerBackends(p.API.router)
	m.registerStatus()
	p.API.registerPage(m.router)
	p.API.registerSessions(m.router)
	m.router.GET(profilesPath, p.API.page(m.profiles))
	return m
}

// handle answers any request on the management listener.
func (m *Server) handle(ctx *fasthttp.RequestCtx) {
	c := ctx.Conn().(*caller)
	c.beginCall()
	defer c.endCall(ctx.RequestBodyStream() != nil)
	guard(&ctx.Response.Header)
	// The routers go by the path as it was sent, too.
	if bytes.HasPrefix(ctx.URI().PathOriginal(), []byte(apiPrefix)) {
		m.API.serve(ctx, m.Starting)
		return
	}
	route(ctx, m.router)
}

func (m *Server) readyz(ctx *fasthttp.RequestCtx) {
	if err := m.ready(); err != nil {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("not ready: " + err.Error() + "\n" + m.certificateWarning())
		return
	}
	ctx.SetBodyString("ready\n" + m.Reload.Last().warning() + m.certificateWarning() + m.clientsWarning())
}

// ready returns why no requests are served yet, or not all; nil if they are.
func (m *Server) ready() error {
	if err := m.Starting(); err != nil {
		return err
	}
	return m.Balancer.Ready()
}

// clientsWarning is what /readyz says of the clients.
func (m *Server) clientsWarning() string {
	if m.Clients == nil {
		return ""
	}
	return m.Clients.Warning()
}

func (m *Server) metrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	w := ctx.Response.BodyWriter()
	m.Balancer.WriteMetrics(w)
	metrics.Single(w, "lb_tracked_clients", "gauge", "Unregistered clients with a bucket.", m.Limits.Tracked())
	metrics.Single(w, "lb_overflow_requests_total", "counter", "Requests of unregistered clients decided by a bucket that they share, since limiter.max_tracked others were in debt.", m.Limits.Overflowed())
	metrics.Single(w, "lb_clients", "gauge", "Registered clients.", m.Limits.Registered())
	m.writeShare(w)
	m.writeStore(w)
	m.writeCertificates(w)
	metrics.Family(w, "lb_api_requests_total", "counter", "Calls of the API by status, on both listeners.")
	m.API.codes.Write(w, "lb_api_requests_total", "")
	metrics.Single(w, "lb_api_denied_total", "counter", "Calls of the API, and log-ins to the page, refused for want of access, with 401, 403 or 429.", m.API.access.denied.Load())
	metrics.Single(w, "lb_log_dropped_total", "counter", "Log lines dropped because their reader was too slow, or because they could not be written.", m.LogDropped())
	m.Reload.Last().write(w)
	metrics.Family(w, "lb_build_info", "gauge", "1, with the version of the binary.")
	_, _ = w.Write(metrics.AppendSample(nil, "lb_build_info", metrics.Label("version", m.Version), 1))
	metrics.WriteRuntime(w)
}

// writeStore writes whether the store of the clients answers, where there is one.
func (m *Server) writeStore(w io.Writer) {
	if m.Clients != nil {
		metrics.Single(w, "lb_store_up", "gauge", "1 if the store of the clients answers.", oneIf(m.Clients.Up()))
	}
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// timeout bounds a request, the sending of its answer, and an idle connection of the management
// side; of an upload and a streamed response it bounds each silence of the client instead.
const timeout = 30 * time.Second

// prefetched is how much of a body of known length fasthttp reads before it calls the handler, in
// bytes. More would have to come within timeout, however long an upload may take. It bounds no body
// that is streamed.
const prefetched = 1

// The time that calls get at the end.
const (
	grace  = 3 * time.Second        // to be answered: as long as the store may take for one
	unsent = 100 * time.Millisecond // for what is missing of a request; the successor waits for the store
)

// Serve answers on the listener until ctx ends, and then finishes what is under way: calls get a
// moment to be sent, and 3 seconds to be answered. It returns an error where the listener fails
// before that. Where ctx has ended already, as when the start has failed, it answers nothing.
func (m *Server) Serve(ctx context.Context, ln net.Listener) error {
	if ctx.Err() != nil {
		_ = ln.Close() // the end of ctx is all there is to tell
		return nil
	}
	return m.serve(ctx, newCallers(ln, timeout))
}

func (m *Server) serve(ctx context.Context, callers *callers) error {
	server := &fasthttp.Server{
		Handler:                      m.handle,
		ReadBufferSize:               16 << 10,
		ReadTimeout:                  callers.timeout,
		WriteTimeout:                 callers.timeout,
		IdleTimeout:                  callers.timeout,
		StreamRequestBody:            true,
		MaxRequestBodySize:           prefetched,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		CloseOnShutdown:              true,
		Logger:                       noLog{},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(callers) }()
	select {
	case err := <-served:
		return fmt.Errorf("accept connections on management.listen (%s): %w", callers.Addr(), err)
	case <-ctx.Done():
	}
	// Closed here too: a shutdown before Serve has begun knows of no listener.
	_ = callers.Listener.Close()
	<-served
	callers.endReads(time.Now().Add(unsent))
	bounded, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = server.ShutdownWithContext(bounded)
	callers.cut() // what is not done by then
	return nil
}

// noLog drops fasthttp's own log lines, which tell of broken connections.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
