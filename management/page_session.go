package management

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

// sessionPath is where the page logs in and out, and asks for its reader's role.
const sessionPath = pagePath + "session"

// pageSession is what the page learns of its reader.
type pageSession struct {
	Login bool   `json:"login"`          // tokens are configured
	Role  string `json:"role,omitempty"` // "": a log-in is needed
	Name  string `json:"name,omitempty"` // of the token
	Page  string `json:"page_token,omitempty"`
}

// registerSessions adds the calls of the page that are not the API's.
func (a *API) registerSessions(r *router.Router) {
	for method, call := range map[string]rest.Call{
		fasthttp.MethodGet: a.showSession, fasthttp.MethodPost: a.logIn, fasthttp.MethodDelete: a.logOut,
	} {
		r.Handle(method, sessionPath, a.page(rest.Handler(a.access.log, call)))
	}
}

// showSession answers with the reader's role. While no token is configured, it hands the page's token
// to callers that may use the API; pages of other origins cannot read the answer.
func (a *API) showSession(_ context.Context, ctx *fasthttp.RequestCtx) error {
	rules := a.access.rules.Load()
	s := pageSession{Login: len(rules.tokens) > 0}
	if s.Login {
		found := rules.credential(a.access.sessions.of(ctx.Request.Header.Peek(pageToken), time.Now()))
		s.Role, s.Name = found.role.String(), found.name
	} else {
		if !a.access.allows(ctx) {
			return nil
		}
		s.Role, s.Page = roleWrite.String(), a.access.sessions.local
	}
	writeSession(ctx, s)
	return nil
}

func writeSession(ctx *fasthttp.RequestCtx, s pageSession) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	rest.WriteJSON(ctx, fasthttp.StatusOK, s)
}

// fromOwnPage returns the rules and the Origin of a call of the page of this listener. Others are
// refused.
func (a *API) fromOwnPage(ctx *fasthttp.RequestCtx) (rules *rules, origin string, ok bool) {
	rules = a.access.rules.Load()
	if origin, ok = rules.ownOrigin(ctx); !ok {
		a.access.refuse(ctx, foreign(ctx))
	}
	return rules, origin, ok
}

// logIn takes {"token": "…"}, and opens a session.
func (a *API) logIn(_ context.Context, ctx *fasthttp.RequestCtx) error {
	rules, origin, own := a.fromOwnPage(ctx)
	if !own {
		return nil
	}
	token, err := readToken(ctx)
	if err != nil {
		return err
	}
	found := find(token, rules.tokens)
	address := rules.trust.ClientAddress(ctx)
	if found.role == 0 {
		a.access.refuse(ctx, a.access.countFailed(address, &refusal{fasthttp.StatusUnauthorized, "the token is none of those configured"}))
		return nil
	}
	cookie, page := a.access.sessions.begin(found.digest, time.Now())
	setSessionCookie(ctx, origin, cookie)
	a.logSession(rest.Caller{Address: address, Token: found.name}, "logged in to the page")
	writeSession(ctx, pageSession{Login: true, Role: found.role.String(), Name: found.name, Page: page})
	return nil
}

// maxLogIn bounds the body of a log-in, in bytes: it is read of callers without a token. Each character
// of a token may be escaped as six.
const maxLogIn = 6*maxToken + 1<<10

func readToken(ctx *fasthttp.RequestCtx) ([]byte, error) {
	body, err := rest.ReadBodyUpTo(ctx, maxLogIn)
	if err != nil {
		return nil, err
	}
	o, err := rest.ParseObject(body, "token")
	if err != nil {
		return nil, err
	}
	if _, present := o.Value("token"); !present {
		return nil, rest.Missing("token")
	}
	token, ok := o.Text("token")
	if !ok || token == "" { // the value is not shown
		return nil, &rest.Fault{Code: rest.Invalid, Field: "token", Message: "the token has to be a text that is not empty"}
	}
	return []byte(token), nil
}

// logOut ends a session.
func (a *API) logOut(_ context.Context, ctx *fasthttp.RequestCtx) error {
	rules, origin, own := a.fromOwnPage(ctx)
	if !own {
		return nil
	}
	page := ctx.Request.Header.Peek(pageToken)
	if s := a.access.sessions.of(page, time.Now()); s != nil {
		a.access.sessions.end(page)
		a.logSession(rest.Caller{Address: rules.trust.ClientAddress(ctx), Token: rules.credential(s).name}, "logged out of the page")
	}
	setSessionCookie(ctx, origin, "")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// cookieName is the name of the cookie of the pages of an origin. Cookies are for all ports of a host,
// on each of which may be another load balancer.
func cookieName(origin string) string {
	scheme, host, _ := strings.Cut(origin, "://")
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return sessionCookie + port
	}
	if scheme == "https" {
		return sessionCookie + "443"
	}
	return sessionCookie + "80"
}

// setSessionCookie sets the cookie of a session of a page with this Origin, or, with "", removes it. It
// is sent for calls of the API alone.
func setSessionCookie(ctx *fasthttp.RequestCtx, origin, value string) {
	c := fasthttp.AcquireCookie()
	defer fasthttp.ReleaseCookie(c)
	c.SetKey(cookieName(origin))
	c.SetValue(value)
	c.SetPath(strings.TrimSuffix(apiPrefix, "/"))
	c.SetHTTPOnly(true)
	c.SetSameSite(fasthttp.CookieSameSiteStrictMode)
	c.SetSecure(strings.HasPrefix(origin, "https:"))
	if value == "" {
		c.SetExpire(fasthttp.CookieExpireDelete)
	} else {
		c.SetMaxAge(int(sessionTime / time.Second))
	}
	ctx.Response.Header.SetCookie(c)
}

func (a *API) logSession(by rest.Caller, what string) {
	a.access.log.Info().Str("token", by.Token).Stringer("address", by.Address).Msg(what)
}
