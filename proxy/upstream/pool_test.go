package upstream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/reason"

	"github.com/rs/zerolog"
)

// newTestPool makes a pool of three backends.
func newTestPool() *Pool {
	c := DefaultPoolConfig()
	for _, url := range []string{"http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"} {
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(url), Weight: 1})
	}
	return NewPool("main", c, zerolog.Nop())
}

func TestUntried(t *testing.T) {
	s := newTestPool().current.Load()
	a, b, c := s.backends[0], s.backends[1], s.backends[2]
	for _, test := range []struct {
		tried  []*Backend
		picked int
		want   *Backend
	}{
		{nil, 1, b},
		{[]*Backend{a}, 1, b},
		{[]*Backend{b}, 1, c},
		{[]*Backend{c}, 2, a},
		{[]*Backend{b, c}, 1, a},
		{[]*Backend{a, b, c}, 1, nil},
	} {
		var tried Tried
		for _, b := range test.tried {
			tried.add(b)
		}
		if got := s.next(test.picked, &tried); got != test.want {
			t.Errorf("after %d tries: got %v, want %v", len(test.tried), got, test.want)
		}
	}
}

// A backend takes requests while no bit of its state is set, whichever came first.
func TestMark(t *testing.T) {
	p := newTestPool()
	b := p.backends[1]
	const other = Ejected
	for _, step := range []struct {
		bit  State
		on   bool
		want int // backends that take requests
	}{
		{Down, true, 2}, {Down, true, 2}, {other, true, 2}, {Down, false, 2}, {other, false, 3}, {Down, false, 3},
	} {
		p.Mark(b, step.bit, step.on)
		s, picked := p.current.Load(), map[int]bool{}
		for range 2 * rampSteps * len(p.backends) { // one that is back takes few requests at first
			picked[s.pick(s.set, 0, time.Now())] = true
		}
		if len(s.backends) != step.want || len(picked) != step.want || b.TakesRequests() != (step.want == 3) {
			t.Fatalf("after bit %d is %v: %d backends take requests, want %d", step.bit, step.on, len(s.backends), step.want)
		}
	}
}

// withBackends returns the config of a pool with these backends, which have their turns.
func withBackends(urls ...string) PoolConfig {
	c := DefaultPoolConfig()
	c.Balance = balance.RoundRobin
	for _, u := range urls {
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(u), Weight: 1})
	}
	return c
}

// TestApply gives a pool other backends: those that stay keep their state, their counters and their
// place in the metrics; a backend that comes back is new.
func TestApply(t *testing.T) {
	p := NewPool("main", withBackends("http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"), zerolog.Nop())
	stays, goes := p.all()[1], p.all()[2]
	p.Mark(stays, Down, true)
	p.Mark(goes, Down, true)
	stays.Begin()
	stays.count(200, reason.None, time.Millisecond)
	next := withBackends("http://10.0.0.4", "http://10.0.0.2")
	next.Backends[1].Weight = 7
	next.Retry.Attempts, next.Timeouts.Tunnel, next.Balance = 5, time.Minute, balance.IPHash
	p.Apply(next)
	if got := p.all(); len(got) != 2 || got[1] != stays || stays.TakesRequests() || stays.load.InFlight.Load() != 1 || stays.weight != 7 {
		t.Errorf("the backend that stays has lost its state: %+v", got)
	}
	if p.Retry().Attempts != 5 || p.Timeouts().Tunnel != time.Minute {
		t.Errorf("got %+v and %+v", p.Retry(), p.Timeouts())
	}
	if s := p.current.Load(); len(s.backends) != 1 || s.backends[0].Name() != "10.0.0.4:80" || s.policy != balance.IPHash {
		t.Errorf("requests go to %d backends by %s", len(s.backends), s.policy)
	}
	var all strings.Builder
	WriteBackends(&all, []*Pool{p})
	if got := all.String(); !strings.Contains(got, `lb_backend_requests_total{pool="main",backend="10.0.0.2:80",code="200"} 1`) || strings.Contains(got, "10.0.0.3") {
		t.Errorf("the metrics are\n%s", got)
	}
	p.Apply(withBackends("http://10.0.0.2", "http://10.0.0.3"))
	if back := p.all()[1]; back == goes || !back.TakesRequests() {
		t.Error("the backend that comes back is the old one")
	}
}

// TestApplyWhileChecking: checks follow the backends, and what was found of those that stay.
func TestApplyWhileChecking(t *testing.T) {
	good, bad := startChecked(t, 200), startChecked(t, 503)
	c := withBackends(good, bad)
	c.Health.Path, c.Health.Interval = "/", 10*time.Millisecond
	p := NewPool("main", c, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()
	await := func(what string, want int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); len(p.current.Load().backends) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d backends take requests, want %d", what, len(p.current.Load().backends), want)
			}
		}
	}
	await("at first", 1)
	for _, status := range []int{200, 500} { // half of them work: with fewer, those that answer would take requests
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(startChecked(t, status)), Weight: 1})
	}
	c.Health.Rise = 3 // another config of the checks
	p.Apply(c)
	await("with two more, one of which is down", 2)
	p.Apply(withBackends(good))
	await("with the good one alone", 1)
}

// startChecked answers every request with the status, and returns its URL.
func startChecked(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(s.Close)
	return s.URL
}

// usePool has four users pick backends, connect and give the connections back until it is stopped.
// Each finds a backend that accepts.
func usePool(t *testing.T, p *Pool) (stop func()) {
	t.Helper()
	var users sync.WaitGroup
	stopped := make(chan struct{})
	for range 4 {
		users.Go(func() {
			for {
				select {
				case <-stopped:
					return
				default:
				}
				b := p.Pick(0, time.Now(), &Tried{})
				if b == nil {
					t.Error("no backend takes requests")
					return
				}
				b.Begin()
				if conn, err := b.Connect(time.Now(), false); err != nil {
					t.Errorf("%s: %v", b.Name(), err)
				} else {
					conn.Release(0)
				}
				b.End(false, 0)
			}
		})
	}
	return func() {
		close(stopped)
		users.Wait()
	}
}

// TestApplyUnderLoad changes the backends while others pick, connect and give back. Nothing is kept
// of those that have gone.
func TestApplyUnderLoad(t *testing.T) {
	a, b := startChecked(t, 200), startChecked(t, 200)
	p := NewPool("main", withBackends(a, b), zerolog.Nop())
	gone := p.all()[1]
	stop := usePool(t, p)
	for range 50 {
		p.Apply(withBackends(a))
		p.Apply(withBackends(a, b))
	}
	p.Apply(withBackends(a))
	time.Sleep(10 * time.Millisecond) // for those that have picked before
	stop()
	if n := gone.conns.opened(); n != 0 {
		t.Errorf("%d connections to a backend that has gone are kept", n)
	}
	p.Retire()
	if n := p.all()[0].conns.opened(); n != 0 {
		t.Errorf("%d connections of a pool that has gone are kept", n)
	}
}
