package upstream

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/reason"
)

// newServedPool makes a pool of one backend, which accepts connections until the test ends.
func newServedPool(t *testing.T, change func(*PoolConfig)) *Pool {
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	c := DefaultPoolConfig()
	c.Backends = []BackendConfig{{URL: mustURL(server.URL), Weight: 1}}
	change(&c)
	return NewPool("main", c, zerolog.Nop())
}

// TestRedialIsFresh takes no idle connection for the second time, however good it looks: so one
// attempt loses the race of keep-alive once at most.
func TestRedialIsFresh(t *testing.T) {
	p := newServedPool(t, func(*PoolConfig) {})
	b := p.Pick(0, time.Now(), &Tried{})
	first, _ := b.Connect(false)
	if first.Reused() {
		t.Error("a new connection counts as reused")
	}
	first.Release()
	again, _ := b.Connect(false)
	if again != first || !again.Reused() {
		t.Fatal("an idle connection was not used, or does not count as reused")
	}
	again.Release()
	fresh, why := b.Connect(true)
	if why != reason.None || fresh == first {
		t.Errorf("got the idle connection, or reason %d", why)
	}
	fresh.Discard()
	if n := b.conns.client.ConnsCount(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	p := newServedPool(t, func(c *PoolConfig) { c.Backends[0].MaxConnections = 1 })
	b := p.Pick(0, time.Now(), &Tried{})
	first, _ := b.Connect(false)
	if _, why := b.Connect(false); why != reason.Overloaded {
		t.Errorf("a second connection: got reason %d, want %d", why, reason.Overloaded)
	}
	first.Discard()
	second, why := b.Connect(false)
	if why != reason.None {
		t.Fatalf("once the first is closed: got reason %d", why)
	}
	second.Release()
	p.Mark(b, Down, true)
	if n := b.conns.client.ConnsCount(); n != 0 {
		t.Errorf("a backend that is down has %d connections", n)
	}
}

// TestFewerConnections lowers the bound below what is open: idle connections are closed at once,
// and those in use when they are given back, until the new bound holds.
func TestFewerConnections(t *testing.T) {
	p := newServedPool(t, func(*PoolConfig) {})
	b := p.Pick(0, time.Now(), &Tried{})
	var used []*Conn
	for range 6 {
		c, why := b.Connect(true)
		if why != reason.None {
			t.Fatal(why)
		}
		used = append(used, c)
	}
	require := func(when string, want int) {
		t.Helper()
		if n := b.conns.client.ConnsCount(); n != want {
			t.Errorf("%s: %d connections are open, want %d", when, n, want)
		}
	}
	lower := func(most int) {
		c := *p.config.Load()
		c.Backends = []BackendConfig{{URL: c.Backends[0].URL, Weight: 1, MaxConnections: most}}
		p.Apply(c)
	}
	used[0].Release()
	used[1].Release()
	lower(5)
	require("with two idle", 4)
	lower(2)
	for _, c := range used[2:] {
		c.Release()
	}
	require("once all are given back", 2)
	again, _ := b.Connect(false)
	if !again.Reused() {
		t.Error("none is kept")
	}
	again.Release()
	require("after a further request", 2)
}
