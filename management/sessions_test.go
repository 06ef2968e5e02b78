package management

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/proxy"
)

// digestOf is the digest of a token.
func digestOf(token string) tokenDigest { return sha256.Sum256([]byte(token)) }

// TestSessionsOfOneToken: the bearer of a token who logs in again and again ends sessions of that token,
// the oldest first, and no others. No more are held than the bound.
func TestSessionsOfOneToken(t *testing.T) {
	s, now := newSessions(), time.Now()
	_, other := s.begin(digestOf("writer"), now)
	_, first := s.begin(digestOf("reader"), now.Add(time.Second))
	_, second := s.begin(digestOf("reader"), now.Add(2*time.Second))
	for i := range maxSessions - 1 {
		s.begin(digestOf("reader"), now.Add(time.Minute+time.Duration(i)))
	}
	at := now.Add(time.Hour)
	if s.of([]byte(other), at) == nil {
		t.Error("the session of another token has ended")
	}
	if s.of([]byte(first), at) != nil || s.of([]byte(second), at) == nil {
		t.Error("another session than the oldest has ended")
	}
	if n := len(s.open); n != maxSessions+1 {
		t.Errorf("%d sessions are held", n)
	}
	s.begin(digestOf("reader"), now.Add(sessionTime+2*time.Minute))
	if n := len(s.open); n != 1 {
		t.Errorf("%d sessions are held, although all but one are over", n)
	}
}

// TestSessionTime: a session lasts 12 hours, however much it is used.
func TestSessionTime(t *testing.T) {
	s, now := newSessions(), time.Now()
	_, page := s.begin(digestOf("a"), now)
	for at, want := range map[time.Duration]bool{0: true, sessionTime - 1: true, sessionTime: false} {
		found := s.of([]byte(page), now.Add(at))
		if (found != nil) != want || found != nil && !s.has(found, now.Add(at)) {
			t.Errorf("after %s: got %v", at, found)
		}
	}
	if one := s.of([]byte(page), now); s.has(one, now.Add(sessionTime)) {
		t.Error("it goes on after its time")
	}
}

// TestConcurrentLogIns has sessions begin, be used, and end at once.
func TestConcurrentLogIns(t *testing.T) {
	s, now := newSessions(), time.Now()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			token := digestOf(fmt.Sprint(i % 2))
			for range 100 {
				_, page := s.begin(token, now)
				if one := s.of([]byte(page), now); one == nil || !s.has(one, now) || one.credential != token {
					t.Error("a session is not found")
				}
				s.keep([]credential{{digest: digestOf("0")}, {digest: digestOf("1")}})
				s.end([]byte(page))
			}
		})
	}
	all.Wait()
	if n := len(s.open); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// sessionCall is a call with the secrets of a session.
func sessionCall(cookie, page string) *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)
	ctx.Request.Header.SetHost("localhost")
	ctx.Request.Header.Set(pageToken, page)
	ctx.Request.Header.Set("Cookie", sessionCookie+"80="+cookie)
	return ctx
}

// TestSessionsOfATokenThatComesBack: a session does not outlive a reload without its token, and a
// reload that has the token again brings it not back. Those of other tokens go on.
func TestSessionsOfATokenThatComesBack(t *testing.T) {
	both := Config{Token: "a-token-that-stays", Tokens: TokenConfigs{{Name: "goes", Role: roleRead, SHA256: new(tokenDigest)}}}
	trust := proxy.NewTrust(proxy.DefaultServerConfig())
	a := NewAPI(both, trust, nil, Reload{}, nil, zerolog.Nop())
	cookie, page := a.access.sessions.begin(digestOf("a-token-that-stays"), time.Now())
	goneCookie, gonePage := a.access.sessions.begin(tokenDigest{}, time.Now())
	requireAllowed := func(want bool, cookie, page string) {
		t.Helper()
		if got := a.access.allows(sessionCall(cookie, page)); got != want {
			t.Errorf("got %v", got)
		}
	}
	requireAllowed(true, goneCookie, gonePage)
	a.Apply(Config{Token: "a-token-that-stays"}, trust)
	requireAllowed(false, goneCookie, gonePage)
	a.Apply(both, trust)
	requireAllowed(false, goneCookie, gonePage)
	requireAllowed(true, cookie, page)
	a.Apply(Config{}, trust)
	a.Apply(both, trust)
	requireAllowed(false, cookie, page)
}

// TestFollow: what goes on after a call was allowed ends with the session and with the config, also
// where that has ended before the call was followed.
func TestFollow(t *testing.T) {
	config, trust := Config{Token: "a-token-of-the-test"}, proxy.NewTrust(proxy.DefaultServerConfig())
	for name, end := range map[string]func(a *API, page string){
		"log-out": func(a *API, page string) { a.access.sessions.end([]byte(page)) },
		"reload":  func(a *API, _ string) { a.Apply(config, trust) },
	} {
		for _, before := range []bool{true, false} {
			a := NewAPI(config, trust, nil, Reload{}, nil, zerolog.Nop())
			cookie, page := a.access.sessions.begin(digestOf("a-token-of-the-test"), time.Now())
			ctx := sessionCall(cookie, page)
			if !a.access.allows(ctx) {
				t.Fatalf("the call got %s", &ctx.Response)
			}
			if before {
				end(a, page)
			}
			goesOn := a.access.follow(ctx)
			if !before {
				if now := time.Now(); !goesOn(now) || goesOn(now.Add(sessionTime)) {
					t.Errorf("%s: the session has another end than its own", name)
				}
				end(a, page)
			}
			if goesOn(time.Now()) {
				t.Errorf("%s, before it was followed: %v: it goes on", name, before)
			}
		}
	}
}

// TestSessionCookies: browsers send the cookies of all ports of a host, in an order that a session's
// own need not come first in.
func TestSessionCookies(t *testing.T) {
	s := &session{cookie: sha256.Sum256([]byte("secret"))}
	for line, want := range map[string]bool{
		"lb_session_8081=secret":                       true,
		"lb_session_8081=x; lb_session_8081=secret":    true,
		"lb_session_8082=x; a=b; lb_session_80=secret": true,
		"lb_session_8081=secret; lb_session_8081=":     true,
		"lb_session_8081=Secret":                       false,
		"lb_session_8081=secre; other=secret":          false,
		"lb_session_8081":                              false,
		"secret":                                       false,
		"":                                             false,
	} {
		var h fasthttp.RequestHeader
		h.Set("Cookie", line)
		if got := s.hasCookie(&h); got != want {
			t.Errorf("%s: got %v", line, got)
		}
	}
	for origin, want := range map[string]string{
		"http://localhost": "80", "https://lb.internal": "443", "http://127.0.0.1:8081": "8081", "https://lb.internal:8443": "8443",
		"http://[::1]": "80", "http://[::1]:8081": "8081",
	} {
		if got := cookieName(origin); got != sessionCookie+want {
			t.Errorf("%s: got %s", origin, got)
		}
	}
}

// TestForeignPage: the refusal of another Origin says what a forwarder in between has to do.
func TestForeignPage(t *testing.T) {
	ctx := new(fasthttp.RequestCtx)
	ctx.Request.Header.SetHost("127.0.0.1:8081")
	ctx.Request.Header.Set("Origin", "https://lb.example")
	for _, want := range []string{`"https://lb.example"`, `"127.0.0.1:8081"`, "pass on the Host"} {
		if r := foreign(ctx); r.status != 403 || !strings.Contains(r.detail, want) {
			t.Errorf("got %d %s", r.status, r.detail)
		}
	}
}
