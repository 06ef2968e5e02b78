package management

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// How a session is told. Its cookie alone allows nothing: browsers send it to every port of a host, so
// that a backend behind the proxy's listener may come to see it. Each call needs the page's token,
// too, which only scripts of the page's own origin can read.
const (
	sessionCookie = "lb_session_" // begins the cookie's name, which the port ends
	pageToken     = "Lb-Page-Token"
	sessionTime   = 12 * time.Hour
	maxSessions   = 1000 // of one token, so that its bearer ends no session of another
)

// sessions are the log-ins of the page. They end with the process. It is safe for concurrent use.
type sessions struct {
	local string // the page's token while no token is configured

	mu   sync.Mutex
	open map[[sha256.Size]byte]*session // by the digest of the page's token
}

// session is one log-in. It is immutable.
type session struct {
	page       [sha256.Size]byte // the digest of the page's token
	cookie     [sha256.Size]byte // its digest
	credential tokenDigest       // of the token that it was opened with
	ends       time.Time
}

func newSessions() *sessions {
	return &sessions{local: rand.Text(), open: map[[sha256.Size]byte]*session{}}
}

// begin opens a session for the bearer of a token, and returns its two secrets. Past maxSessions of
// the token, the one that would end first is ended.
func (s *sessions) begin(credential tokenDigest, now time.Time) (cookie, page string) {
	cookie, page = rand.Text(), rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *session
	same := 0
	for key, other := range s.open {
		switch {
		case !now.Before(other.ends):
			delete(s.open, key)
		case other.credential == credential:
			if same++; first == nil || other.ends.Before(first.ends) {
				first = other
			}
		}
	}
	if same >= maxSessions {
		delete(s.open, first.page)
	}
	opened := &session{sha256.Sum256([]byte(page)), sha256.Sum256([]byte(cookie)), credential, now.Add(sessionTime)}
	s.open[opened.page] = opened
	return cookie, page
}

// of returns the session with this page's token, or nil.
func (s *sessions) of(page []byte, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.open[sha256.Sum256(page)]; found != nil && now.Before(found.ends) {
		return found
	}
	return nil
}

// end ends the session with this page's token.
func (s *sessions) end(page []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256(page))
}

// has reports whether a session is still open.
func (s *sessions) has(one *session, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[one.page] == one && now.Before(one.ends)
}

// keep ends the sessions of all tokens but these: a token that comes back brings none back.
func (s *sessions) keep(tokens []credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, one := range s.open {
		if !slices.ContainsFunc(tokens, func(c credential) bool { return c.digest == one.credential }) {
			delete(s.open, key)
		}
	}
}

// isLocal reports whether a text is the page's token while no token is configured.
func (s *sessions) isLocal(page []byte) bool {
	return subtle.ConstantTimeCompare(page, []byte(s.local)) == 1
}

// credential returns the credential of a session, or one with role 0 where its token is no longer
// configured.
func (r *rules) credential(s *session) (found credential) {
	for _, c := range r.tokens {
		if s != nil && c.digest == s.credential && c.role > found.role {
			found = c
		}
	}
	return found
}

// sessionOf returns the session that a call has, with both its secrets, or nil.
func (a *access) sessionOf(ctx *fasthttp.RequestCtx) *session {
	s := a.sessions.of(ctx.Request.Header.Peek(pageToken), time.Now())
	if s == nil || !s.hasCookie(&ctx.Request.Header) {
		return nil
	}
	return s
}

// hasCookie reports whether one of the cookies of a request is the session's. Others of its name may
// stand before it: whatever answers on another port of the host can set them.
func (s *session) hasCookie(h *fasthttp.RequestHeader) bool {
	for name, value := range h.Cookies() {
		if !bytes.HasPrefix(name, []byte(sessionCookie)) {
			continue
		}
		if digest := sha256.Sum256(value); subtle.ConstantTimeCompare(digest[:], s.cookie[:]) == 1 {
			return true
		}
	}
	return false
}

// ownOrigin returns the Origin of a call for a page of this listener. It has the name and the port
// that the Host has, one that the pages are shown under.
func (r *rules) ownOrigin(ctx *fasthttp.RequestCtx) (origin string, ok bool) {
	host, all := string(ctx.Request.Header.Host()), ctx.Request.Header.PeekAll(fasthttp.HeaderOrigin)
	if len(all) != 1 || host == "" || !r.answersTo(host) {
		return "", false
	}
	origin = string(all[0])
	return origin, origin == "http://"+host || origin == "https://"+host
}

// foreign returns the refusal of a call that ownOrigin does not take.
func foreign(ctx *fasthttp.RequestCtx) *refusal {
	lines := ctx.Request.Header.PeekAll(fasthttp.HeaderOrigin)
	return &refusal{fasthttp.StatusForbidden, fmt.Sprintf("only the page of this listener may log in, log out, or change something by its session: "+
		"the Origin of the call, %.100q, has to be http:// or https:// and its Host, %.100q, which is an address, localhost or one of management.hosts; "+
		"a forwarder between has to pass on the Host", bytes.Join(lines, []byte(", ")), ctx.Request.Header.Host())}
}
