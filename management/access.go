package management

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/proxy"
)

// access decides which calls of the API are answered. With a token configured, every call needs
// one. Without, a caller on this machine that speaks for itself needs none, because it could read
// the config anyway. It is safe for concurrent use.
type access struct {
	rules    atomic.Pointer[rules]
	sessions *sessions
	failed   failedTokens
	denied   atomic.Uint64 // calls refused
	log      zerolog.Logger
}

// rules are what access goes by. They are immutable.
type rules struct {
	tokens []credential
	trust  *proxy.Trust
	hosts  []Host
}

// refusal is the answer to a call that may not use the API.
type refusal struct {
	status int
	detail string
}

var (
	refusedRemote = &refusal{fasthttp.StatusForbidden, "no token is configured, so only programs on the load balancer's machine that call it " +
		"directly, by localhost or a loopback address, may use the API; set management.token to let others in"}
	refusedWithoutToken = &refusal{fasthttp.StatusUnauthorized, "the API needs a token: send the header field " +
		"Authorization: Bearer TOKEN, once, with management.token or one of management.tokens"}
	refusedToken = &refusal{fasthttp.StatusUnauthorized, "the token is none of those configured: send " +
		"Authorization: Bearer TOKEN with management.token or one of management.tokens"}
	refusedWrite = &refusal{fasthttp.StatusForbidden, "the token has the role read, which allows GET, HEAD and " +
		"POST " + explainPath + " alone; use a token with the role write"}
	refusedSession = &refusal{fasthttp.StatusUnauthorized, "the session of the page has ended; log in again"}
	refusedTooMany = &refusal{fasthttp.StatusTooManyRequests, "too many wrong tokens came from this address; " +
		"send one of those configured, or try again in a second"}
)

// allows reports whether a call may use the API, and answers it if not. Of a call that may, it
// records the caller.
func (a *access) allows(ctx *fasthttp.RequestCtx) bool {
	caller, r := a.judge(ctx)
	if r == nil {
		rest.SetCaller(ctx, caller)
		return true
	}
	a.refuse(ctx, r)
	return false
}

// refuse answers a call with a refusal, and counts it.
func (a *access) refuse(ctx *fasthttp.RequestCtx, r *refusal) {
	a.denied.Add(1)
	switch r.status {
	case fasthttp.StatusUnauthorized:
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="management"`)
	case fasthttp.StatusTooManyRequests:
		ctx.Response.Header.Set("Retry-After", "1")
	}
	rest.WriteProblem(ctx, r.status, "", r.detail)
}

// judge returns the caller, or why it may not use the API.
func (a *access) judge(ctx *fasthttp.RequestCtx) (rest.Caller, *refusal) {
	rules := a.rules.Load()
	setGrant(ctx, grant{rules: rules})
	caller := rest.Caller{Address: rules.trust.ClientAddress(ctx)}
	if len(rules.tokens) == 0 {
		if rules.trust.FromThisMachine(ctx) && rules.speaksForItself(ctx, a.isFromPage(ctx, rules)) {
			return caller, nil
		}
		return caller, refusedRemote
	}
	found, r := a.credential(ctx, rules, caller.Address)
	if r != nil {
		return caller, r
	}
	caller.Token = found.name
	if found.role == roleRead && !isReading(ctx) && string(ctx.URI().PathOriginal()) != explainPath {
		return caller, refusedWrite
	}
	return caller, nil
}

// grant is what a call was allowed by.
type grant struct {
	rules   *rules
	session *session // nil: it has none
}

type grantKey struct{}

func setGrant(ctx *fasthttp.RequestCtx, g grant) { ctx.SetUserValue(grantKey{}, g) }

// follow returns a function that reports whether a call that was allowed still would be, as far as the
// config and its session go.
func (a *access) follow(ctx *fasthttp.RequestCtx) func(now time.Time) bool {
	g, _ := ctx.UserValue(grantKey{}).(grant)
	return func(now time.Time) bool {
		return a.rules.Load() == g.rules && (g.session == nil || a.sessions.has(g.session, now))
	}
}

// isReading reports whether a call changes nothing, by its method.
func isReading(ctx *fasthttp.RequestCtx) bool { return ctx.IsGet() || ctx.IsHead() }

// credential returns what a call may do by its token or its session, or why it may do nothing.
func (a *access) credential(ctx *fasthttp.RequestCtx, rules *rules, address netip.Addr) (credential, *refusal) {
	token := bearerToken(&ctx.Request.Header)
	if len(token) > 0 {
		if found := find(token, rules.tokens); found.role != 0 {
			return found, nil
		}
		return credential{}, a.countFailed(address, refusedToken)
	}
	if len(ctx.Request.Header.Peek(pageToken)) == 0 {
		return credential{}, refusedWithoutToken
	}
	s := a.sessionOf(ctx)
	found := rules.credential(s)
	if found.role == 0 {
		return found, refusedSession
	}
	if _, own := rules.ownOrigin(ctx); !own && !isReading(ctx) {
		return found, foreign(ctx)
	}
	setGrant(ctx, grant{rules, s})
	return found, nil
}

// countFailed counts a token that failed, and returns the answer: r, unless there were too many.
func (a *access) countFailed(address netip.Addr, r *refusal) *refusal {
	now := time.Now()
	tooMany := a.failed.add(now, address)
	a.logRefusals(now)
	if tooMany {
		return refusedTooMany
	}
	return r
}

// isFromPage reports whether a browser has sent a call for this listener's own page, while no token is
// configured.
func (a *access) isFromPage(ctx *fasthttp.RequestCtx, rules *rules) bool {
	_, own := rules.ownOrigin(ctx)
	return own && a.sessions.isLocal(ctx.Request.Header.Peek(pageToken))
}

// bearerToken returns the token of a request, or nil. A request with two Authorization fields has
// none: which of them counts would be a guess.
func bearerToken(h *fasthttp.RequestHeader) []byte {
	fields := h.PeekAll("Authorization")
	if len(fields) != 1 {
		return nil
	}
	value := bytes.Trim(fields[0], " \t")
	end := bytes.IndexAny(value, " \t")
	if end < 0 || !bytes.EqualFold(value[:end], []byte("Bearer")) {
		return nil
	}
	return bytes.TrimLeft(value[end:], " \t")
}

// speaksForItself reports whether a request was neither passed on by a proxy, whose fields tell,
// nor sent by a browser for another site's page, which its Origin or the Host, that site's name,
// gives away. A field counts on whichever line it stands, and also when it is empty. fromPage says that
// the Origin is the page's own.
func (r *rules) speaksForItself(ctx *fasthttp.RequestCtx, fromPage bool) bool {
	// The header as it came: on the management listener no guard has read it.
	for line := range bytes.Lines(ctx.Request.Header.RawHeaders()) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		name = bytes.TrimSpace(name)
		if fromPage && bytes.EqualFold(name, []byte(fasthttp.HeaderOrigin)) {
			continue
		}
		if r.tellsOfOthers(string(name)) {
			return false
		}
	}
	// They differ where the target has a host of its own.
	return isLocalHost(string(ctx.Request.Header.Host())) && isLocalHost(string(ctx.URI().Host()))
}

// tellsOfOthers reports whether a field of this name says that a request comes from somewhere else.
// A proxy may spell it with _ for -.
func (r *rules) tellsOfOthers(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch name {
	case "forwarded", "via", "x-real-ip", "origin", strings.ReplaceAll(r.trust.Field(), "_", "-"):
		return true
	}
	return strings.HasPrefix(name, "x-forwarded")
}

// isLocalHost reports whether a Host, with or without a port, is localhost or a loopback address.
func isLocalHost(host string) bool {
	if end := strings.LastIndexByte(host, ':'); end > strings.LastIndexByte(host, ']') {
		if strings.Trim(host[end+1:], "0123456789") != "" {
			return false
		}
		host = host[:end]
	}
	if inside, ok := strings.CutPrefix(host, "["); ok {
		address, err := netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		return err == nil && strings.HasSuffix(inside, "]") && address.Is6() && address.Unmap().IsLoopback()
	}
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Is4() && address.IsLoopback()
}

// logRefusals logs the calls refused for too many wrong tokens, a line a second at the most.
func (a *access) logRefusals(now time.Time) {
	if r := a.failed.due(now); r.calls > 0 {
		a.log.Warn().Stringer("address", r.address).Int("calls", r.calls).
			Msg("calls of the API were refused for too many wrong tokens; the address is the last one's")
	}
}

// run logs, until ctx ends, the refusals that no later one brings into the log.
func (a *access) run(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case now := <-second.C:
			a.logRefusals(now)
		case <-ctx.Done():
			return
		}
	}
}
