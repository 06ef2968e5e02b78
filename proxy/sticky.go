package proxy

import "loadbalancer/proxy/upstream"

// sticky is how a client is kept at a backend by a cookie. The zero value is one that is not.
type sticky struct {
	on    bool              // the pool keeps clients
	named *upstream.Backend // that the client's cookie names, and that it was sent to; nil: none
}

// pickNamed returns the backend that the client's cookie names, for the request's first attempt, or
// nil if the policy is to pick one.
func (x *exchange) pickNamed() *upstream.Backend {
	name := x.pool.StickyCookie()
	if name == "" || x.tries.tried.Len() > 0 {
		return nil
	}
	x.sticky.on = true
	x.sticky.named = x.pool.PickNamed(x.stream.Request.Cookie(name), x.stream.Started, &x.tries.tried)
	return x.sticky.named
}

// appendCookie appends the cookie that keeps the client at the backend that has answered. A client
// whose own backend could not be reached is not moved: it may be there again at the next request,
// and if not, that request is no longer sent there.
func (x *exchange) appendCookie(dst []byte) []byte {
	s := &x.sticky
	if !s.on || s.named != nil && s.named != x.tries.backend {
		return dst
	}
	secure := x.caller.trusted && x.stream.Request.Forwarded.IsSecure()
	return x.tries.backend.AppendCookie(dst, s.named != nil, secure)
}
