package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loadbalancer/proxy/upstream"
)

func TestFateOf(t *testing.T) {
	for _, test := range []struct {
		owned, binds, mayOwn bool
		want                 fate
	}{
		{false, false, true, shared},
		{false, false, false, shared},
		{false, true, true, owned},
		{true, false, true, owned},
		{true, true, true, owned},
		{false, true, false, closed},
		{true, false, false, closed},
		{true, true, false, closed},
	} {
		if got := fateOf(test.owned, test.binds, test.mayOwn); got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}

// iis is a backend that authenticates connections, as IIS does with NTLM and Negotiate: who has
// authenticated one is who all requests on it are from.
type iis struct {
	dials, open atomic.Int32
}

func (s *iis) serve(conn net.Conn) {
	s.dials.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	user := ""
	for in := bufio.NewReader(conn); ; {
		r, _, err := readRequest(in)
		if err != nil {
			return
		}
		credentials := r.Header.Get("Authorization")
		if _, name, ok := strings.Cut(credentials, " user="); ok {
			user = name
		}
		status, body := "401 Unauthorized\r\nWWW-Authenticate: NTLM", "not authenticated"
		if user != "" {
			status, body = "200 OK", "you are "+user
		}
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body); err != nil {
			return
		}
	}
}

// say sends a request with these credentials, or none, and returns the body of the answer.
func say(w *rawClient, credentials string) string {
	w.t.Helper()
	field := ""
	if credentials != "" {
		field = "Authorization: " + credentials + "\r\n"
	}
	w.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n" + field + "\r\n")
	return string(w.receive("GET").body)
}

// TestConnectionAuthentication keeps the connection on which a client has authenticated from all
// others.
func TestConnectionAuthentication(t *testing.T) {
	const anonymous, alice, bob = "not authenticated", "you are alice", "you are bob"
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		t.Run(scheme, func(t *testing.T) {
			first, second := new(iis), new(iis)
			p, address := startProxy(t, testOptions(startRawBackend(t, first.serve), startRawBackend(t, second.serve)))
			a, b := newWire(t, address), newWire(t, address)
			for _, step := range []struct {
				client            *rawClient
				credentials, want string
			}{
				{a, "", anonymous},
				{a, scheme + " hello", anonymous}, // from here on a has a connection of its own
				{a, scheme + " user=alice", alice},
				{b, "", anonymous},
				{a, "", alice},
				{b, scheme + " user=bob", bob},
				{a, "", alice},
				{b, "", bob},
			} {
				for range 4 { // both backends and all connections come round
					if got := say(step.client, step.credentials); got != step.want {
						t.Errorf("%q: got %q, want %q", step.credentials, got, step.want)
					}
					if got := say(newWire(t, address), ""); got != anonymous {
						t.Errorf("another client without credentials got %q", got)
					}
				}
			}
			open := func() int32 { return first.open.Load() + second.open.Load() }
			before := open()
			a.Close()
			eventually(t, "the end of a's connection to the backend", func() bool { return open() == before-1 })
			b.Close()
			eventually(t, "the end of b's", func() bool { return open() == before-2 })
			mustHaveNoErrors(t, p)
		})
	}
}

// TestConnectionAuthenticationEnds: once the client's own connection to the backend is closed, the
// client has to authenticate again, and until then is anonymous.
func TestConnectionAuthenticationEnds(t *testing.T) {
	s := new(iis)
	o := testOptions(startRawBackend(t, s.serve))
	pool := o.Pools["main"]
	pool.Timeouts.Idle = 50 * time.Millisecond
	o.Pools["main"] = pool
	_, address := startProxy(t, o)
	w := newWire(t, address)
	if got := say(w, "NTLM user=alice"); got != "you are alice" {
		t.Fatalf("got %q", got)
	}
	eventually(t, "timeouts.idle", func() bool { return s.open.Load() == 0 })
	if got := say(w, ""); got != "not authenticated" {
		t.Errorf("got %q", got)
	}
	if got := say(w, "NTLM user=alice"); got != "you are alice" {
		t.Errorf("got %q", got)
	}
}

// TestConnectionAuthenticationAndTheQueue: the client's own connection is the only one that the
// backend may have, so others wait, and the client does not wait behind them.
func TestConnectionAuthenticationAndTheQueue(t *testing.T) {
	s := new(iis)
	o := queueOptions(upstream.QueueConfig{Size: 1, Timeout: 10 * time.Second}, startRawBackend(t, s.serve))
	o.Server.TrustedProxies = nil
	p, address := startProxy(t, o)
	owner, other := newWire(t, address), newWire(t, address)
	if got := say(owner, "NTLM user=alice"); got != "you are alice" {
		t.Fatalf("got %q", got)
	}
	other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the other client to wait", func() bool { return queuedRequests(p) == "1" })
	for range 3 {
		if got := say(owner, ""); got != "you are alice" {
			t.Errorf("got %q", got)
		}
	}
	owner.Close()
	if got := string(other.receive("GET").body); got != "not authenticated" {
		t.Errorf("the other client got %q", got)
	}
	if n := s.dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestConnectionAuthenticationBehindAProxy closes the connection after each such response, since
// the next request on the proxy's connection may be another user's.
func TestConnectionAuthenticationBehindAProxy(t *testing.T) {
	s := new(iis)
	o := testOptions(startRawBackend(t, s.serve))
	o.Server.TrustedProxies = prefixes("127.0.0.1")
	_, address := startProxy(t, o)
	w := newWire(t, address)
	for range 3 {
		if got := say(w, "Negotiate user=alice"); got != "you are alice" {
			t.Errorf("got %q", got)
		}
		if got := say(w, ""); got != "not authenticated" {
			t.Errorf("the next user got %q", got)
		}
	}
	eventually(t, "the authenticated connections to end", func() bool { return s.open.Load() == 1 })
}

// TestRequestOnALostConnection goes to another connection where it may be repeated: the
// authenticated one was closed by its backend just as the request was sent.
func TestRequestOnALostConnection(t *testing.T) {
	var dials atomic.Int32
	_, address := startProxy(t, testOptions(startUnixBackend(t, func(conn net.Conn) {
		first := dials.Add(1) == 1
		for in := bufio.NewReader(conn); ; {
			r, _, err := readRequest(in)
			if err != nil || first && r.Header.Get("Authorization") == "" {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})))
	w := newWire(t, address)
	for _, credentials := range []string{"NTLM a", "", ""} {
		if got := say(w, credentials); got != "ok" {
			t.Errorf("got %q", got)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestPrivateAtADrainedBackend: a client that is kept at a drained backend by its cookie, and whose
// connection there is its own, goes on there; one that authenticates anew can.
func TestPrivateAtADrainedBackend(t *testing.T) {
	urls := startNamed(t, 2)
	o := stickyOptions(urls...)
	p, address := startProxy(t, o)
	pool := p.pools.byName["main"].Pool
	backend := backendOf(t, pool, nameOf(urls[0]))
	cookie, _, _ := strings.Cut(strings.TrimPrefix(string(backend.AppendCookie(nil, false, false)), "Set-Cookie: "), ";")
	request := withHost("GET / HTTP/1.1", "Cookie: "+cookie, "Authorization: NTLM TlRMTVNTUAAB")
	old := newWire(t, address)
	ask := func(w *rawClient, when string) {
		t.Helper()
		_ = w.SetDeadline(time.Now().Add(5 * time.Second))
		w.send(request)
		if got, err := w.tryReceive("GET"); err != nil || got.StatusCode != 200 || string(got.body) != "0" {
			t.Fatalf("%s: got %+v, %v", when, got, err)
		}
	}
	ask(old, "before")
	pool.Mark(backend, upstream.Draining, true)
	ask(old, "drained")
	ask(old, "drained, once more")
	fresh := newWire(t, address)
	ask(fresh, "another connection")
	ask(fresh, "another connection, once more")
}
