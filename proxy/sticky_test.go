package proxy

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/routes"
	"loadbalancer/proxy/upstream"
)

// stickyOptions returns options for a pool that keeps clients at these backends.
func stickyOptions(urls ...string) Options {
	o := testOptions(urls...)
	change(&o, func(c *upstream.PoolConfig) {
		c.Sticky = upstream.StickyConfig{Cookie: "lb", Secret: "a secret of the tests"}
	})
	return o
}

// change changes the pool of test options.
func change(o *Options, f func(c *upstream.PoolConfig)) {
	c := o.Pools["main"]
	c.Backends = slices.Clone(c.Backends)
	f(&c)
	o.Pools = map[string]upstream.PoolConfig{"main": c}
}

// meet sends a request without a cookie, and returns the backend's number and the cookie.
func meet(t *testing.T, url string) (backend, cookie string) {
	t.Helper()
	backend, response := ask(t, url)
	cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
	return backend, cookie
}

// mustStay sends requests of a client with a cookie, which must all go to one backend. They must
// not change the cookie.
func mustStay(t *testing.T, when, url, backend, cookie string) {
	t.Helper()
	for range 12 {
		got, response := ask(t, url, "Cookie", "other=1; "+cookie)
		if got != backend || response.Header["Set-Cookie"] != nil {
			t.Fatalf("%s: a client of backend %s was sent to %s with the cookie %q", when, backend, got, response.Header["Set-Cookie"])
		}
	}
}

// A client stays at its backend for as long as that takes requests: through reloads, in other
// instances, and while its weight is 0.
func TestSticky(t *testing.T) {
	t.Parallel()
	for _, policy := range []balance.Policy{balance.RoundRobin, balance.Latency, balance.IPHash} {
		t.Run(policy.String(), func(t *testing.T) {
			urls := startNamed(t, 4)
			o := stickyOptions(urls[:3]...)
			change(&o, func(c *upstream.PoolConfig) { c.Balance = policy })
			p, address := startProxy(t, o)
			url := "http://" + address
			backend, cookie := meet(t, url)
			mustStay(t, "at first", url, backend, cookie)

			more := stickyOptions(urls[3], urls[2], urls[1], urls[0])
			p.Apply(more)
			mustStay(t, "with another order and backend", url, backend, cookie)
			_, other := startProxy(t, more)
			mustStay(t, "in another instance", "http://"+other, backend, cookie)

			mine := 3 - int(backend[0]-'0') // the place in more
			change(&more, func(c *upstream.PoolConfig) { c.Backends[mine].Weight = 0 })
			p.Apply(more)
			mustStay(t, "with weight 0", url, backend, cookie)
			for range 20 {
				if got, _ := meet(t, url); got == backend {
					t.Fatal("a backend of weight 0 gets a new client")
				}
			}

			change(&more, func(c *upstream.PoolConfig) { c.Backends = slices.Delete(c.Backends, mine, mine+1) })
			p.Apply(more)
			moved, response := ask(t, url, "Cookie", cookie)
			if moved == backend || response.Header.Get("Set-Cookie") == "" {
				t.Fatalf("its backend is gone: it was sent to %s with the cookie %q", moved, response.Header["Set-Cookie"])
			}
			cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
			mustStay(t, "at its new backend", url, moved, cookie)
		})
	}
}

// A route that takes the cookies of requests and responses away leaves the balancer's own.
func TestStickyBehindARoute(t *testing.T) {
	t.Parallel()
	o := stickyOptions(startNamed(t, 3)...)
	o.Routes = []routes.Config{{
		Path: "/app", StripPrefix: "/app", Pool: "main",
		RequestHeaders:  routes.FieldsConfig{Remove: []string{"Cookie"}},
		ResponseHeaders: routes.FieldsConfig{Remove: []string{"Set-Cookie"}},
	}}
	_, address := startProxy(t, o)
	url := "http://" + address + "/app/a"
	backend, cookie := meet(t, url)
	mustStay(t, "behind the route", url, backend, cookie)
}

// A client whose backend goes down moves, and one whose backend fails one request does not.
func TestStickyMoves(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := "http://" + ln.Addr().String()
	o := stickyOptions(append(startNamed(t, 2), refuses)...)
	p, address := startProxy(t, o)
	url, pool := "http://"+address, p.settings.Load().pools[0]
	backend := backendOf(t, pool, ln.Addr().String())
	cookie := string(backend.AppendCookie(nil, false, false))
	cookie, _, _ = strings.Cut(strings.TrimPrefix(cookie, "Set-Cookie: "), ";")
	_ = ln.Close()
	for range 2 { // a third would eject it
		if got, response := ask(t, url, "Cookie", cookie); got == "" || response.StatusCode != 200 || response.Header["Set-Cookie"] != nil {
			t.Fatalf("its backend refuses connections: %s from %q, with the cookie %q", response.Status, got, response.Header["Set-Cookie"])
		}
	}
	if n := metric(p, attemptsAt(refuses, 502)); n != "2" {
		t.Errorf("its backend was tried %s times, want 2", n)
	}
	pool.Mark(backend, upstream.Down, true)
	got, response := ask(t, url, "Cookie", cookie)
	if response.Header.Get("Set-Cookie") == "" {
		t.Fatal("its backend is down, and it gets no other cookie")
	}
	cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
	pool.Mark(backend, upstream.Down, false)
	mustStay(t, "when its first backend is back", url, got, cookie)
}

// The cookie says nothing of the backend, and is for HTTP alone.
func TestStickyCookie(t *testing.T) {
	t.Parallel()
	urls := startNamed(t, 2)
	o := stickyOptions(urls...)
	o.Server.TrustedProxies = prefixes("127.0.0.2")
	_, address := startProxy(t, o)
	trusting := stickyOptions(urls...)
	trusting.Server.TrustedProxies = prefixes("127.0.0.1")
	change(&trusting, func(c *upstream.PoolConfig) { c.Sticky.TTL = time.Hour })
	_, trustingAddress := startProxy(t, trusting)
	other := stickyOptions(urls...)
	change(&other, func(c *upstream.PoolConfig) { c.Sticky.Secret = "another secret of the tests" })
	_, otherAddress := startProxy(t, other)

	const value = `lb=[A-Za-z0-9_-]{22}; Path=/; HttpOnly; SameSite=Lax`
	https := []string{"X-Forwarded-Proto", "HTTPS"}
	known := func() []string {
		_, cookie := meet(t, "http://"+trustingAddress)
		return []string{"Cookie", cookie}
	}
	_, foreign := meet(t, "http://"+otherAddress)
	for _, test := range []struct {
		name, address string
		fields        []string
		want          string
	}{
		{"a new client", address, nil, value},
		{"a client that claims to speak TLS", address, https, value},
		{"a client that speaks TLS", trustingAddress, https, value + "; Max-Age=3600; Secure"},
		{"a client that does not", trustingAddress, nil, value + "; Max-Age=3600"},
		{"a known client, whose time begins anew", trustingAddress, known(), value + "; Max-Age=3600"},
		{"a cookie of another secret", address, []string{"Cookie", foreign}, value},
		{"a made-up cookie", address, []string{"Cookie", "lb=AAAAAAAAAAAAAAAAAAAAAA"}, value},
		{"an odd cookie", address, []string{"Cookie", "lb=\"x; lb"}, value},
	} {
		_, response := ask(t, "http://"+test.address, test.fields...)
		got := response.Header["Set-Cookie"]
		if len(got) != 1 || !regexp.MustCompile("^"+test.want+"$").MatchString(got[0]) {
			t.Errorf("%s gets %q", test.name, got)
		}
	}
}

// New clients go to backups only while no other backend takes requests, but a request that the
// others have failed is retried there.
func TestBackup(t *testing.T) {
	t.Parallel()
	o := testOptions(startNamed(t, 4)...)
	change(&o, func(c *upstream.PoolConfig) {
		c.Backends[2].Backup, c.Backends[3].Backup = true, true
		c.Backends[3].Weight = 0
	})
	p, address := startProxy(t, o)
	pool := p.settings.Load().pools[0]
	backend := func(i int) *upstream.Backend {
		return backendOf(t, pool, nameOf(o.Pools["main"].Backends[i].URL.String()))
	}
	first, second := backend(0), backend(1)
	mustServe := func(when string, want ...string) {
		t.Helper()
		got := map[string]bool{}
		for range 12 {
			body, _ := ask(t, "http://"+address)
			got[body] = true
		}
		if len(got) != len(want) || slices.ContainsFunc(want, func(s string) bool { return !got[s] }) {
			t.Errorf("%s: requests go to %v, want %v", when, got, want)
		}
	}
	mustServe("all are up", "0", "1")
	pool.Mark(first, upstream.Down, true)
	mustServe("one is down", "1")
	pool.Mark(second, upstream.Down, true)
	mustServe("only backups are up", "2")
	pool.Mark(second, upstream.Down, false)
	mustServe("one is back", "1")
}

func TestBackupServesRetries(t *testing.T) {
	t.Parallel()
	broken, failures := startFailing(t, "reset")
	o := testOptions(broken, startBackend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "backup") }))
	change(&o, func(c *upstream.PoolConfig) { c.Backends[1].Backup = true })
	_, address := startProxy(t, o)
	for range 3 {
		if got, response := ask(t, "http://"+address); got != "backup" {
			t.Errorf("%s: %s", response.Status, got)
		}
	}
	if failures.Load() < 3 {
		t.Errorf("the backend was tried %d times, want 3", failures.Load())
	}
}

// What is explained of a client with a cookie is what becomes of its requests.
func TestExplainSticky(t *testing.T) {
	t.Parallel()
	urls := startNamed(t, 3)
	p, address := startProxy(t, stickyOptions(urls...))
	backend, cookie := meet(t, "http://"+address)
	for range 3 {
		e, err := p.Explain(Question{Method: "GET", URL: "/", From: loopback.Prefix.Addr(), Headers: []string{"Cookie: " + cookie}})
		if err != nil || e.Pool.Pick != urls[backend[0]-'0'] || e.Pool.Why != "the client's cookie lb names it" {
			t.Errorf("%v: %+v", err, e.Pool)
		}
	}
	e, err := p.Explain(Question{Method: "GET", URL: "/", From: loopback.Prefix.Addr()})
	if err != nil || e.Pool.Why != "the next in turn" {
		t.Errorf("%v: %+v", err, e.Pool)
	}
}
