package proxy

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/upstream"
)

// sticky is how a client is kept at a backend by a cookie. The zero value is one that is not.
type sticky struct {
	on    bool              // the pool keeps clients
	kept  *upstream.Backend // at which the client is kept, by its cookie or a connection of its own; nil: none
	named *upstream.Backend // that the client's cookie names, and that it was sent to; nil: none
}

// pick returns the backend that the client's cookie names, for the request's first attempt, or nil
// if the policy is to pick one.
func (s *sticky) pick(p *upstream.Pool, r *message.Request, began time.Time, tried *upstream.Tried) *upstream.Backend {
	name := p.StickyCookie()
	if name == "" || tried.Len() > 0 {
		return nil
	}
	s.on = true
	s.named = p.PickNamed(r.Cookie(name), began, tried)
	return s.named
}

// appendCookie appends the cookie that keeps the client at the backend that has answered. secure is
// for clients that speak TLS. A client whose own backend could not be reached is not moved: it may
// be there again at the next request, and if not, that request is no longer sent there.
func (s *sticky) appendCookie(dst []byte, at *upstream.Backend, secure bool) []byte {
	if !s.on || s.named != nil && s.named != at {
		return dst
	}
	return at.AppendCookie(dst, s.named != nil, secure)
}
