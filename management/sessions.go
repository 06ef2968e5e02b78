package management

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// How a session is told. Its cookie alone allows nothing: browsers send it to every port of a host, so
// that a backend behind the proxy's listener may come to see it. Each call needs the page's token,
// too, which only scripts of the page's own origin can read.
const (
	sessionCookie = "lb_session"
	pageToken     = "Lb-Page-Token"
	sessionTime   = 12 * time.Hour
	maxSessions   = 1000
)

// sessions are the log-ins of the page. They end with the process. It is safe for concurrent use.
type sessions struct {
	local string // the page's token while no token is configured

	mu   sync.Mutex
	open map[[sha256.Size]byte]*session // by the digest of the page's token
}

// session is one log-in. It is immutable.
type session struct {
	cookie     [sha256.Size]byte // its digest
	credential tokenDigest       // of the token that it was opened with
	ends       time.Time
}

func newSessions() *sessions {
	return &sessions{local: rand.Text(), open: map[[sha256.Size]byte]*session{}}
}

// begin opens a session for the bearer of a token, and returns its two secrets. Past maxSessions, the
// one that would end first is ended.
func (s *sessions) begin(credential tokenDigest, now time.Time) (cookie, page string) {
	cookie, page = rand.Text(), rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	var first [sha256.Size]byte
	var ends time.Time
	for key, other := range s.open {
		if !now.Before(other.ends) {
			delete(s.open, key)
		} else if ends.IsZero() || other.ends.Before(ends) {
			first, ends = key, other.ends
		}
	}
	if len(s.open) >= maxSessions {
		delete(s.open, first)
	}
	s.open[sha256.Sum256([]byte(page))] = &session{sha256.Sum256([]byte(cookie)), credential, now.Add(sessionTime)}
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

// bySession returns the credential of the session that a call has, with both its secrets, or one with
// role 0.
func (a *access) bySession(ctx *fasthttp.RequestCtx, rules *rules) credential {
	s := a.sessions.of(ctx.Request.Header.Peek(pageToken), time.Now())
	if s == nil {
		return credential{}
	}
	cookie := sha256.Sum256(ctx.Request.Header.Cookie(sessionCookie))
	if subtle.ConstantTimeCompare(cookie[:], s.cookie[:]) != 1 {
		return credential{}
	}
	return rules.credential(s)
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
