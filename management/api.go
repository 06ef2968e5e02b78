package management

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients"
	"loadbalancer/clients/rest"
	"loadbalancer/proxy"
	"loadbalancer/proxy/metrics"
)

// The paths of the API, and of its description.
const (
	apiPrefix   = "/v1/api/"
	swaggerPath = apiPrefix + "swagger.yaml"
	reloadPath  = apiPrefix + "reload"
)

// API answers the calls below apiPrefix, on whichever listener they come. It has a router of its
// own, so that no path leads to one of its handlers past the check of access. It is safe for
// concurrent use.
type API struct {
	router *router.Router
	access *access
	codes  metrics.Codes
}

// NewAPI returns the API. service is nil where the API is not served; description is the API's own,
// in YAML.
func NewAPI(c Config, trust *proxy.Trust, service *clients.Service, reload Reload, description []byte, log zerolog.Logger) *API {
	a := &API{router: newRouter(log), access: &access{sessions: newSessions(), log: log}}
	a.Apply(c, trust)
	if service != nil {
		service.Register(a.router)
	}
	a.router.POST(reloadPath, rest.Parameters(reload.serve))
	a.router.GET(swaggerPath, rest.Parameters(func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/yaml")
		ctx.SetBody(description)
	}))
	a.router.GET(apiPrefix, rest.Parameters(a.showDescription(description)))
	return a
}

// showDescription returns a handler that shows the description as a page. It is rendered when it is
// asked for first.
func (a *API) showDescription(description []byte) fasthttp.RequestHandler {
	render := sync.OnceValues(func() (*descriptionPage, error) { return newDescriptionPage(description) })
	return func(ctx *fasthttp.RequestCtx) {
		page, err := render()
		if err != nil {
			panic(fmt.Sprintf("BUG: the description cannot be shown: %v", err))
		}
		ctx.SetContentType("text/html; charset=utf-8")
		ctx.Response.Header.Set("Content-Security-Policy", page.policy)
		ctx.SetBody(page.to(string(ctx.Request.Header.Host()), len(a.access.rules.Load().tokens) > 0))
	}
}

// Apply gives the API other tokens and another trust. Calls under way end by those they began with.
func (a *API) Apply(c Config, trust *proxy.Trust) {
	tokens := c.credentials()
	a.access.rules.Store(&rules{tokens: tokens, trust: trust, hosts: c.Hosts})
	a.access.sessions.keep(tokens)
}

// OnProxy is the API as the proxy's listener serves it, or nil where it does not.
func (a *API) OnProxy(c Config) *proxy.API {
	if !c.APIOnProxy {
		return nil
	}
	return &proxy.API{MayUse: a.mayUse, Answer: a.answer, Count: a.codes.Add}
}

// mayUse reports whether a call on the proxy's listener may use the API, and answers it if not.
func (a *API) mayUse(ctx *fasthttp.RequestCtx) bool {
	guard(&ctx.Response.Header)
	return a.access.allows(ctx)
}

// answer answers a call that may use the API.
func (a *API) answer(ctx *fasthttp.RequestCtx) { route(ctx, a.router) }

// serve answers any call on the management listener, where the description is open to all. While
// starting returns an error, the other calls get 503.
func (a *API) serve(ctx *fasthttp.RequestCtx, starting func() error) {
	path := string(ctx.URI().PathOriginal())
	describes := (ctx.IsGet() || ctx.IsHead()) && (path == apiPrefix || path == swaggerPath)
	switch err := starting(); {
	case !describes && !a.access.allows(ctx): // it is answered
	case !describes && err != nil:
		writeStarting(ctx, err)
	default:
		a.answer(ctx)
	}
	a.codes.Add(ctx.Response.StatusCode())
}

// writeStarting answers a call that comes before requests are served.
func writeStarting(ctx *fasthttp.RequestCtx, waits error) {
	ctx.Response.Header.Set("Retry-After", "1")
	rest.WriteProblem(ctx, fasthttp.StatusServiceUnavailable, "", "the load balancer does not serve yet: it is "+waits.Error())
}

// Run logs, until ctx ends, the refusals that no later one brings into the log.
func (a *API) Run(ctx context.Context) { a.access.run(ctx) }

func newRouter(log zerolog.Logger) *router.Router {
	r := router.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	r.NotFound, r.MethodNotAllowed, r.PanicHandler = notFound, methodNotAllowed, survive(log)
	return r
}

// route has a router answer. HEAD is answered as GET; the server leaves the body out (RFC 9110,
// section 9.3.2).
func route(ctx *fasthttp.RequestCtx, r *router.Router) {
	if ctx.IsHead() {
		ctx.Request.Header.SetMethod(fasthttp.MethodGet)
		defer ctx.Request.Header.SetMethod(fasthttp.MethodHead)
	}
	r.Handler(ctx)
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

// survive returns a handler of panics: fasthttp would let one end the process, and the traffic with
// it.
func survive(log zerolog.Logger) func(*fasthttp.RequestCtx, any) {
	return func(ctx *fasthttp.RequestCtx, fault any) {
		log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).
			Msg("panic while a management request was served; please report it")
		ctx.Response.Reset()
		rest.WriteProblem(ctx, fasthttp.StatusInternalServerError, "", "the load balancer failed; its log has the details")
	}
}
