package upstream

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"loadbalancer/bench/zone"
	"loadbalancer/proxy/reason"
)

func TestPause(t *testing.T) {
	for _, test := range []struct {
		every    time.Duration
		failures int
		want     time.Duration
	}{
		{10 * time.Second, 0, 10 * time.Second},
		{10 * time.Second, 1, time.Second},
		{10 * time.Second, 2, 2 * time.Second},
		{10 * time.Second, 4, 8 * time.Second},
		{10 * time.Second, 5, 10 * time.Second},
		{10 * time.Second, 1000, 10 * time.Second},
		{100 * time.Millisecond, 1, 100 * time.Millisecond},
		{24 * time.Hour, 16, 32768 * time.Second},
	} {
		if got := pause(test.every, test.failures); got != test.want {
			t.Errorf("every %s, after %d failures: got %s, want %s", test.every, test.failures, got, test.want)
		}
	}
	for range 1000 {
		if got := jittered(10 * time.Second); got < 9*time.Second || got > 11*time.Second {
			t.Fatalf("10s are %s", got)
		}
	}
}

// TestAwait: a look-up that is asked for begins at once, but a second after the last that was asked
// for at the earliest.
func TestAwait(t *testing.T) {
	for _, test := range []struct {
		name        string
		every       time.Duration
		since, asks time.Duration // one was asked for so long ago; the next is asked for after this; 0: it is not
		least, most time.Duration
	}{
		{"it is due", 10 * time.Second, 0, 0, 9 * time.Second, 11 * time.Second},
		{"it is asked for", 10 * time.Second, 2 * time.Second, time.Millisecond, time.Millisecond, time.Millisecond},
		{"it is asked for soon", 10 * time.Second, 0, time.Millisecond, time.Second, time.Second},
		{"it is asked for late", 10 * time.Second, 0, time.Minute, 9 * time.Second, 11 * time.Second},
		{"it is due sooner than it is asked for", 100 * time.Millisecond, 0, time.Second, 90 * time.Millisecond, 110 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &lookup{again: make(chan struct{}, 1), asked: time.Now().Add(-test.since)}
			if test.asks > 0 {
				time.AfterFunc(test.asks, func() { l.ask(); l.ask() })
			}
			began := time.Now()
			if got := l.await(t.Context(), test.every); !got || time.Since(began) < test.least || time.Since(began) > test.most {
				t.Errorf("%s: got %v after %s", test.name, got, time.Since(began))
			}
			time.Sleep(2 * time.Minute)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &lookup{again: make(chan struct{}, 1), asked: time.Now().Add(time.Hour)}
	for range 100 { // a second one finds both
		if l.ask(); l.await(ctx, time.Hour) {
			t.Fatal("there is another look-up after the end")
		}
	}
}

// named are backends that listen on one port of several addresses.
type named struct {
	port  string
	mu    sync.Mutex
	hosts map[string][]string // the Host of each request, by the address that was asked
}

// startNamed serves on the addresses until the test ends.
func startNamed(t *testing.T, addresses ...string) *named {
	t.Helper()
	n := &named{port: "0", hosts: map[string][]string{}}
	for _, a := range addresses {
		ln, err := net.Listen("tcp", net.JoinHostPort(a, n.port))
		if err != nil {
			t.Fatal(err)
		}
		_, n.port, _ = net.SplitHostPort(ln.Addr().String())
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.hosts[a] = append(n.hosts[a], r.Host)
		}))
		s.Listener.Close()
		s.Listener = ln
		s.Start()
		t.Cleanup(s.Close)
	}
	return n
}

// asked returns the Hosts of the requests to an address.
func (n *named) asked(address string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hosts[address])
}

// runNamed runs a pool whose names the zone answers for, until the test ends.
func runNamed(t *testing.T, z *zone.Zone, c PoolConfig) (*Pool, *logText) {
	t.Helper()
	log := &logText{}
	p := newPool("main", c, z.Resolver(), zerolog.New(log))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Log(log)
		}
	})
	return p, log
}

// backendNames returns the names of the pool's backends.
func backendNames(p *Pool) (all []string) {
	for _, b := range p.all() {
		all = append(all, b.Name())
	}
	return all
}

func awaitThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func awaitBackends(t *testing.T, p *Pool, port string, addresses ...string) {
	t.Helper()
	want := make([]string, len(addresses))
	for i, a := range addresses {
		want[i] = net.JoinHostPort(a, port)
	}
	awaitThat(t, strings.Join(want, " "), func() bool { return slices.Equal(backendNames(p), want) })
}

// TestNameMoves: the backends follow the answers. Those that stay keep their state, connections and
// counters; those that leave keep none. Checks go to the addresses, with the name as Host.
func TestNameMoves(t *testing.T) {
	z := openZone(t)
	servers := startNamed(t, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	set(t, z, "api.test", "127.0.0.2", "127.0.0.3")
	c := withBackends("http://API.test:" + servers.port)
	c.Resolve, c.Health.Path, c.Health.Interval = minResolve, "/", 50*time.Millisecond
	c.Backends[0].MaxConnections = 1
	p, log := runNamed(t, z, c)
	host := "API.test:" + servers.port
	if got := backendNames(p); len(got) != 2 || !p.TakesRequests() {
		t.Fatalf("at first: got %q", got)
	}
	gone, stays := p.all()[0], p.all()[1]
	stays.count(200, reason.None, time.Millisecond)
	conns := map[*Backend]*Conn{}
	for _, b := range []*Backend{gone, stays} {
		idle, err := b.Connect(time.Now(), false)
		if err != nil {
			t.Fatal(err)
		}
		if to := idle.RemoteAddr().String(); to != b.Name() {
			t.Errorf("the connection to %s leads to %s", b.Name(), to)
		}
		if _, err := b.Connect(time.Now(), false); ConnectReason(err) != reason.Overloaded {
			t.Errorf("max_connections does not hold for each address: %v", err)
		}
		conns[b] = idle
	}
	asked := z.Asked("api.test")
	awaitThat(t, "more look-ups", func() bool { return z.Asked("api.test") >= asked+6 })
	if p.all()[0] != gone || p.all()[1] != stays {
		t.Error("answers in another order made other backends")
	}

	set(t, z, "api.test", "127.0.0.4", "127.0.0.3")
	awaitBackends(t, p, servers.port, "127.0.0.3", "127.0.0.4")
	if p.all()[0] != stays {
		t.Error("the backend that stays has lost its state")
	}
	awaitThat(t, "the new backend to be proven", func() bool { return p.all()[1].isIn() })
	conns[gone].Release(0)
	conns[stays].Release(0)
	if n, m := gone.conns.opened(), stays.conns.opened(); n != 0 || m != 1 {
		t.Errorf("%d connections to the address that left are open, and %d to the one that stays, want 0 and 1", n, m)
	}
	var metrics strings.Builder
	WriteBackends(&metrics, []*Pool{p})
	if got := metrics.String(); strings.Contains(got, "127.0.0.2") || !strings.Contains(got, `lb_backend_up{pool="main",backend="127.0.0.4:`+servers.port+`"} 1`) ||
		!strings.Contains(got, `lb_backend_requests_total{pool="main",backend="127.0.0.3:`+servers.port+`",code="200"} 1`) {
		t.Errorf("the metrics are\n%s", got)
	}
	if got := p.States()[0]; got.Backend != "http://127.0.0.3:"+servers.port || got.From != "http://"+host || got.State != "up" {
		t.Errorf("got %+v", got)
	}
	for _, a := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		if hosts := servers.asked(a); len(hosts) == 0 || slices.ContainsFunc(hosts, func(h string) bool { return h != host }) {
			t.Errorf("%s was asked for %q", a, hosts)
		}
	}
	checks := len(servers.asked("127.0.0.2"))
	next := len(servers.asked("127.0.0.4"))
	awaitThat(t, "checks", func() bool { return len(servers.asked("127.0.0.4")) > next+3 })
	if n := len(servers.asked("127.0.0.2")); n != checks {
		t.Errorf("the address that left was checked %d times more", n-checks)
	}
	if n := strings.Count(log.String(), "a name leads to other addresses"); n != 2 {
		t.Errorf("%d lines tell of other addresses, want 2", n)
	}
}

// TestLookupFails: the last answer is kept, however a look-up fails, and the log says so once.
func TestLookupFails(t *testing.T) {
	for name, breaks := range map[string]func(*zone.Zone){
		"an error":     func(z *zone.Zone) { z.Fail("api.test", dns.RcodeServerFailure) },
		"no such name": func(z *zone.Zone) { z.Fail("api.test", dns.RcodeNameError) },
		"no address":   func(z *zone.Zone) { _ = z.Set("api.test") },
	} {
		t.Run(name, func(t *testing.T) {
			z := openZone(t)
			set(t, z, "api.test", "127.0.0.2")
			c := withBackends("http://api.test:8100")
			c.Resolve = minResolve
			p, log := runNamed(t, z, c)
			b := p.all()[0]
			breaks(z)
			asked := z.Asked("api.test")
			awaitThat(t, "more look-ups", func() bool { return z.Asked("api.test") >= asked+10 })
			if got := p.all(); len(got) != 1 || got[0] != b {
				t.Errorf("the last answer was not kept: %q", backendNames(p))
			}
			if n := strings.Count(log.String(), "a look-up of a name has failed"); n != 1 {
				t.Errorf("%d lines say so, want 1", n)
			}
			set(t, z, "api.test", "127.0.0.3")
			awaitBackends(t, p, "8100", "127.0.0.3")
		})
	}
}

// TestUnknownAtFirst: a pool whose names are not found is there, without backends, and gets them
// when they are. A name server that does not answer holds it up for a second.
func TestUnknownAtFirst(t *testing.T) {
	for name, test := range map[string]struct {
		silent bool
		state  string
	}{
		"no such name": {false, "no_such_name"},
		"no answer":    {true, "no_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := openZone(t)
			if test.silent {
				z.Fail("api.test", zone.NoAnswer)
				z.Fail("other.test", zone.NoAnswer)
			}
			servers := startNamed(t, "127.0.0.2")
			url := "http://api.test:" + servers.port
			began := time.Now()
			p, _ := runNamed(t, z, withBackends(url, "http://other.test:8101"))
			if took := time.Since(began); took >= lookupTime {
				t.Errorf("it took %s", took)
			}
			if b := p.Pick(0, time.Now(), &Tried{}); b != nil || p.TakesRequests() {
				t.Error("there is a backend without an address")
			}
			if got := p.States(); len(got) != 2 || got[0].State != "unresolved" || got[0].Cause != test.state || got[0].Backend != url {
				t.Errorf("got %+v", got)
			}
			set(t, z, "api.test", "127.0.0.2")
			awaitThat(t, "the backend", p.TakesRequests)
			if got := p.States(); len(got) != 2 || got[0].State != "up" || got[0].From != url || got[1].State != "unresolved" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestIPv6Unanswered: a name server that does not answer for IPv6 holds a pool up for a second, not
// for good.
func TestIPv6Unanswered(t *testing.T) {
	t.Parallel()
	z := openZone(t)
	set(t, z, "api.test", "127.0.0.2")
	z.FailIPv6("api.test", zone.NoAnswer)
	p, log := runNamed(t, z, withBackends("http://api.test:8100"))
	if got := backendNames(p); len(got) != 1 || got[0] != "127.0.0.2:8100" {
		t.Errorf("got %q", got)
	}
	if strings.Count(log.String(), "a look-up of a name has failed") != 1 {
		t.Error("the log does not say so")
	}
}

// TestLocalhost: a server that listens in IPv4 alone is one backend, which works.
func TestLocalhost(t *testing.T) {
	servers := startNamed(t, "127.0.0.1")
	p, _ := runNamed(t, openZone(t), withBackends("http://localhost:"+servers.port))
	if got := backendNames(p); len(got) != 1 || got[0] != "localhost:"+servers.port {
		t.Fatalf("got %q", got)
	}
	conn, err := p.all()[0].Connect(time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Discard()
	awaitThat(t, "a check", func() bool { return p.all()[0].verdict.Load() != nil })
	if !p.TakesRequests() {
		t.Error("its check fails")
	}
}

// TestSharedAddress: an address of two names is one backend, and is still checked when the name
// that it came from leads elsewhere.
func TestSharedAddress(t *testing.T) {
	z := openZone(t)
	servers := startNamed(t, "127.0.0.2", "127.0.0.3")
	set(t, z, "a.test", "127.0.0.2")
	set(t, z, "b.test", "127.0.0.2")
	c := withBackends("http://a.test:"+servers.port, "http://b.test:"+servers.port)
	c.Resolve, c.Health.Path, c.Health.Interval = minResolve, "/", 20*time.Millisecond
	p, _ := runNamed(t, z, c)
	awaitBackends(t, p, servers.port, "127.0.0.2")
	set(t, z, "a.test", "127.0.0.3")
	awaitBackends(t, p, servers.port, "127.0.0.3", "127.0.0.2")
	awaitThat(t, "a check of the shared address", func() bool { return p.all()[1].verdict.Load() != nil })
	if got := p.States()[1].From; got != "http://b.test:"+servers.port {
		t.Errorf("it comes from %s", got)
	}
}

// TestConnectFails: a connect that fails, of a request or of a check, has the name looked up at
// once.
func TestConnectFails(t *testing.T) {
	for name, fail := range map[string]func(*Pool){
		"of a request": func(p *Pool) {
			p.Count(p.all()[0], &Result{Reason: reason.ConnectFailed, Began: time.Now()})
		},
		"of a request that waits": func(p *Pool) {
			p.Count(p.all()[0], &Result{Reason: reason.ConnectTimeout, Began: time.Now()})
		},
		"of a check": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := openZone(t)
			servers := startNamed(t, "127.0.0.2")
			set(t, z, "api.test", "127.0.0.2", "127.0.0.5")
			if fail != nil {
				set(t, z, "api.test", "127.0.0.2")
			}
			c := withBackends("http://api.test:" + servers.port)
			c.Resolve, c.Health.Interval = time.Hour, time.Hour
			p, _ := runNamed(t, z, c)
			if fail != nil {
				p.Count(p.all()[0], &Result{Reason: reason.BackendReset, Began: time.Now()})
				p.Count(p.all()[0], &Result{Status: 503, Began: time.Now()})
			}
			before := z.Asked("api.test")
			set(t, z, "api.test", "127.0.0.3")
			if fail != nil {
				time.Sleep(50 * time.Millisecond)
				if n := z.Asked("api.test"); n != before {
					t.Fatalf("%d questions came without a failed connect", n-before)
				}
				fail(p)
			}
			awaitBackends(t, p, servers.port, "127.0.0.3")
		})
	}
}

// TestService: SRV records give the ports and weights, and requests go to a higher priority number
// only while no backend of the lower takes any.
func TestService(t *testing.T) {
	z := openZone(t)
	near, far := startNamed(t, "127.0.0.2", "127.0.0.3"), startNamed(t, "127.0.0.4")
	set(t, z, "_http._tcp.api.test", "5 3 "+near.port+" a.test.", "5 1 "+near.port+" b.test.", "9 1 "+far.port+" c.test.")
	set(t, z, "a.test", "127.0.0.2")
	set(t, z, "b.test", "127.0.0.3")
	set(t, z, "c.test", "127.0.0.4")
	c := withBackends("srv://_http._tcp.api.test")
	c.Resolve, c.Health.Path, c.Health.Interval = minResolve, "/", time.Hour
	p, _ := runNamed(t, z, c)
	shares := func() map[string]int {
		got := map[string]int{}
		for range 40 {
			host, _, _ := net.SplitHostPort(p.Pick(0, time.Now(), &Tried{}).Name())
			got[host]++
		}
		return got
	}
	if got := shares(); len(got) != 2 || got["127.0.0.2"] != 30 || got["127.0.0.3"] != 10 {
		t.Errorf("got %v", got)
	}
	if got := p.States(); len(got) != 3 || got[2].Rank != 1 || got[2].From != "srv://_http._tcp.api.test" || got[0].Weight != 3 {
		t.Errorf("got %+v", got)
	}
	awaitThat(t, "a check", func() bool { return len(far.asked("127.0.0.4")) > 0 })
	if got := far.asked("127.0.0.4")[0]; got != "api.test" {
		t.Errorf("the Host of the check is %q", got)
	}
	for _, b := range p.all()[:2] {
		p.Mark(b, Draining, true)
	}
	if got := shares(); got["127.0.0.4"] != 40 {
		t.Errorf("without the first priority: got %v", got)
	}
	set(t, z, "_http._tcp.api.test", "0 0 0 .")
	awaitThat(t, "the service to be gone", func() bool { return len(p.all()) == 0 })
	set(t, z, "_http._tcp.api.test", "5 3 "+far.port+" c.test.")
	awaitBackends(t, p, far.port, "127.0.0.4")
}

// TestApplyNames: a reload finds the names that it adds before it uses them, asks for no others,
// and a shorter resolve holds at once.
func TestApplyNames(t *testing.T) {
	z := openZone(t)
	servers := startNamed(t, "127.0.0.2", "127.0.0.3")
	set(t, z, "a.test", "127.0.0.2")
	set(t, z, "b.test", "127.0.0.3")
	c := withBackends("http://a.test:" + servers.port)
	c.Resolve = time.Hour
	p, _ := runNamed(t, z, c)
	a := p.all()[0]
	c.Backends = append(c.Backends, withBackends("http://b.test:"+servers.port).Backends...)
	asked := z.Asked("a.test")
	p.Apply(c)
	if got := p.all(); len(got) != 2 || got[0] != a || z.Asked("a.test") != asked {
		t.Errorf("got %q, and %d more questions", backendNames(p), z.Asked("a.test")-asked)
	}
	c.Resolve = minResolve
	p.Apply(c)
	awaitThat(t, "more look-ups", func() bool { return z.Asked("a.test") > asked+4 && z.Asked("b.test") > 6 })
	c.Backends = c.Backends[1:]
	p.Apply(c)
	asked, asked2 := z.Asked("a.test"), z.Asked("b.test")
	awaitThat(t, "more look-ups", func() bool { return z.Asked("b.test") > asked2+6 })
	if n := z.Asked("a.test") - asked; n > 2 { // one look-up may have been under way
		t.Errorf("%d more questions for a name that has gone", n)
	}
	if got := backendNames(p); len(got) != 1 || got[0] != "127.0.0.3:"+servers.port {
		t.Errorf("got %q", got)
	}
}

// TestMovesUnderLoad has look-ups and reloads change the backends while others pick, connect and
// give back: none finds the pool empty, and nothing is kept of those that have gone.
func TestMovesUnderLoad(t *testing.T) {
	z := openZone(t)
	servers := startNamed(t, "127.0.0.2", "127.0.0.3", "127.0.0.4")
	set(t, z, "api.test", "127.0.0.2")
	c := withBackends("http://api.test:" + servers.port)
	c.Resolve = minResolve
	p, _ := runNamed(t, z, c)
	first := p.all()[0]
	stop := usePool(t, p)
	for i := range 8 {
		now := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}[(i+1)%3]
		set(t, z, "api.test", now)
		awaitThat(t, now, func() bool {
			p.Apply(c)
			return slices.Equal(backendNames(p), []string{now + ":" + servers.port})
		})
	}
	set(t, z, "api.test", "127.0.0.4")
	awaitBackends(t, p, servers.port, "127.0.0.4")
	stop()
	if n := first.conns.opened(); n != 0 {
		t.Errorf("%d connections to an address that has left are kept", n)
	}
}

// What is set of an address by hand outlives that the name leads elsewhere for a while, also where
// other settings are kept meanwhile, and that the config has the address in place of the name.
func TestByHandOfNames(t *testing.T) {
	z := openZone(t)
	servers := startNamed(t, "127.0.0.2", "127.0.0.3")
	set(t, z, "api.test", "127.0.0.2", "127.0.0.3")
	c := withBackends("http://api.test:" + servers.port)
	c.Resolve = minResolve
	p, _ := runNamed(t, z, c)
	awaitBackends(t, p, servers.port, "127.0.0.2", "127.0.0.3")
	second, third := "127.0.0.2:"+servers.port, "127.0.0.3:"+servers.port
	s, known := p.Drain(second, time.Time{})
	if !known || s.State != "draining" || s.From != c.Backends[0].URL.text || s.Backend != "http://"+second {
		t.Errorf("drained, it is %+v", s)
	}
	if _, known := p.Drain("api.test:"+servers.port, time.Time{}); known {
		t.Error("a name was drained")
	}
	set(t, z, "api.test", "127.0.0.3")
	awaitBackends(t, p, servers.port, "127.0.0.3")
	p.SetWeight(third, 7)
	p.Forget()
	if got := p.Settings(); len(got) != 2 {
		t.Errorf("the settings are %v", got)
	}
	set(t, z, "api.test", "127.0.0.2", "127.0.0.3")
	awaitBackends(t, p, servers.port, "127.0.0.2", "127.0.0.3")
	require := func(when string) {
		t.Helper()
		for _, s := range p.States() {
			drained, weight := s.Address == second, map[string]int{second: 1, third: 7}[s.Address]
			if strings.Contains(s.State, "draining") != drained || s.Weight != weight {
				t.Errorf("%s: it is %+v", when, s)
			}
		}
	}
	require("when the name leads there again")
	p.Apply(withBackends("http://"+second, "http://"+third))
	require("by its address")
	p.Apply(withBackends("http://" + third))
	p.Forget()
	if got := p.Settings(); len(got) != 1 {
		t.Errorf("without the name, the settings are %v", got)
	}
}
