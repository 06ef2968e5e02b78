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
	fresh, err := b.Connect(true)
	if err != nil || fresh == first {
		t.Errorf("got the idle connection, or %v", err)
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
	if _, err := b.Connect(false); ConnectReason(err) != reason.Overloaded {
		t.Errorf("a second connection: got %v, want %s", err, reason.Overloaded)
	}
	first.Discard()
	second, err := b.Connect(false)
	if err != nil {
		t.Fatalf("once the first is closed: got %v", err)
	}
	second.Release()
	p.Mark(b, Down, true)
	if n := b.conns.client.ConnsCount(); n != 0 {
		t.Errorf("a backend that is down has %d connections", n)
	}
}
