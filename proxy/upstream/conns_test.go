package upstream

import (
	"net/http/httptest"
	"sync"
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

// opened returns how many connections are open.
func (s *conns) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// TestRedialIsFresh takes no idle connection for the second time, however good it looks: so one
// attempt loses the race of keep-alive once at most.
func TestRedialIsFresh(t *testing.T) {
	p := newServedPool(t, func(*PoolConfig) {})
	b := p.Pick(0, time.Now(), &Tried{})
	first, _ := b.Connect(time.Now(), false)
	if first.Reused() {
		t.Error("a new connection counts as reused")
	}
	first.Release(0)
	again, _ := b.Connect(time.Now(), false)
	if again != first || !again.Reused() {
		t.Fatal("an idle connection was not used, or does not count as reused")
	}
	again.Release(0)
	fresh, err := b.Connect(time.Now(), true)
	if err != nil || fresh == first {
		t.Errorf("got the idle connection, or %v", err)
	}
	fresh.Discard()
	if n := b.conns.opened(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	p := newServedPool(t, func(c *PoolConfig) { c.Backends[0].MaxConnections = 1 })
	b := p.Pick(0, time.Now(), &Tried{})
	first, _ := b.Connect(time.Now(), false)
	if _, err := b.Connect(time.Now(), false); ConnectReason(err) != reason.Overloaded {
		t.Errorf("a second connection: got %v, want %s", err, reason.Overloaded)
	}
	first.Discard()
	second, err := b.Connect(time.Now(), false)
	if err != nil {
		t.Fatalf("once the first is closed: got %v", err)
	}
	second.Release(0)
	p.Mark(b, Down, true)
	if n := b.conns.opened(); n != 0 {
		t.Errorf("a backend that is down has %d connections", n)
	}
}

// TestFull: a backend is full where as many connections are in use as are allowed, private ones
// among them even while they are idle. Otherwise a request gets a connection, and no more are open.
func TestFull(t *testing.T) {
	const most = 2
	for _, test := range []struct {
		idle, inUse, private int
		want                 bool
	}{
		{0, 0, 0, false},
		{2, 0, 0, false},
		{0, 1, 0, false},
		{1, 1, 0, false},
		{0, 2, 0, true},
		{1, 0, 1, false},
		{0, 1, 1, true},
		{0, 0, 2, true},
	} {
		p := newServedPool(t, func(c *PoolConfig) { c.Backends[0].MaxConnections = most })
		b := p.all()[0]
		var all []*Conn
		for range test.idle + test.inUse + test.private {
			c, err := b.Connect(time.Now(), false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		for _, c := range all[test.inUse:][:test.private] {
			c.Private().Release(0)
		}
		for _, c := range all[test.inUse+test.private:] {
			c.Release(0)
		}
		if got := b.full(); got != test.want || p.HasRoom(&Tried{}) == test.want {
			t.Errorf("%+v: full is %v", test, got)
		}
		c, err := b.Connect(time.Now(), false)
		if (err != nil) != test.want || err != nil && ConnectReason(err) != reason.Overloaded {
			t.Errorf("%+v: a request got %v", test, err)
		}
		if n := b.conns.opened(); n > most || err == nil && test.idle > 0 && n != len(all) {
			t.Errorf("%+v: %d connections are open", test, n)
		}
		if err == nil {
			c.Discard()
		}
	}
}

// TestConnectionsAreBoundedUnderLoad has more requests than connections: they are reused, replaced
// and closed while others are dialed.
func TestConnectionsAreBoundedUnderLoad(t *testing.T) {
	const most = 3
	p := newServedPool(t, func(c *PoolConfig) { c.Backends[0].MaxConnections = most })
	b := p.all()[0]
	var all sync.WaitGroup
	for worker := range 2 * most {
		all.Go(func() {
			for i := range 300 {
				c, err := b.Connect(time.Now(), (i+worker)%7 == 0)
				if err != nil {
					if ConnectReason(err) != reason.Overloaded {
						t.Error(err)
					}
					continue
				}
				if n := b.conns.opened(); n > most {
					t.Errorf("%d connections are open", n)
				}
				if i%11 == 0 {
					c.Discard()
				} else {
					c.Release(0)
				}
			}
		})
	}
	all.Wait()
	if n := b.conns.slots.taken.Load(); n != 0 || b.conns.opened() == 0 {
		t.Errorf("at the end %d slots are taken, and %d connections are open", n, b.conns.opened())
	}
}

// TestFewerConnections lowers the bound below what is open: idle connections are closed at once,
// and those in use when they are given back, until the new bound holds.
func TestFewerConnections(t *testing.T) {
	p := newServedPool(t, func(*PoolConfig) {})
	b := p.Pick(0, time.Now(), &Tried{})
	var used []*Conn
	for range 6 {
		c, err := b.Connect(time.Now(), true)
		if err != nil {
			t.Fatal(err)
		}
		used = append(used, c)
	}
	require := func(when string, want int) {
		t.Helper()
		if n := b.conns.opened(); n != want {
			t.Errorf("%s: %d connections are open, want %d", when, n, want)
		}
	}
	lower := func(most int) {
		c := *p.config.Load()
		c.Backends = []BackendConfig{{URL: c.Backends[0].URL, Weight: 1, MaxConnections: most}}
		p.Apply(c)
	}
	used[0].Release(0)
	used[1].Release(0)
	lower(5)
	require("with two idle", 4)
	lower(2)
	for _, c := range used[2:] {
		c.Release(0)
	}
	require("once all are given back", 2)
	again, _ := b.Connect(time.Now(), false)
	if !again.Reused() {
		t.Error("none is kept")
	}
	again.Release(0)
	require("after a further request", 2)
}

func TestKeepFor(t *testing.T) {
	for _, test := range []struct{ most, said, want time.Duration }{
		{time.Minute, 0, time.Minute},
		{time.Minute, time.Hour, time.Minute},
		{time.Minute, 5 * time.Second, 4 * time.Second},
		{time.Minute, 61 * time.Second, time.Minute},
		{time.Minute, time.Second, 0},
		{0, 0, 0},
		{0, time.Hour, 0},
	} {
		if got := keepFor(test.most, test.said); got != test.want {
			t.Errorf("idle %s, Keep-Alive: timeout=%s: kept for %s, want %s", test.most, test.said, got, test.want)
		}
	}
}

// TestIdleConnectionsAge takes a connection that was released a moment ago as if time had passed.
func TestIdleConnectionsAge(t *testing.T) {
	for _, test := range []struct {
		name            string
		idle, said, age time.Duration
		reused          bool
		open            int // once it was released
	}{
		{"young", time.Minute, 0, 59 * time.Second, true, 1},
		{"old", time.Minute, 0, 61 * time.Second, false, 1},
		{"young for its backend", time.Minute, 5 * time.Second, 3 * time.Second, true, 1},
		{"a second before its backend closes it", time.Minute, 5 * time.Second, 4100 * time.Millisecond, false, 1},
		{"its backend closes it within a second", time.Minute, time.Second, 0, false, 0},
		{"none is kept", 0, 0, 0, false, 0},
		{"none is kept, whatever its backend says", 0, time.Hour, 0, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newServedPool(t, func(c *PoolConfig) { c.Timeouts.Idle = test.idle })
			b := p.all()[0]
			c, err := b.Connect(time.Now(), false)
			if err != nil {
				t.Fatal(err)
			}
			c.Release(test.said)
			if n := b.conns.opened(); n != test.open {
				t.Errorf("%d connections are open, want %d", n, test.open)
			}
			again, err := b.Connect(time.Now().Add(test.age), false)
			if err != nil {
				t.Fatal(err)
			}
			if again.Reused() != test.reused {
				t.Errorf("after %s: reused is %v", test.age, again.Reused())
			}
			again.Discard()
			if n := b.conns.opened(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// TestIdleTimeChanges gives the pool another timeouts.idle: connections that are idle are closed at
// once, and one that is in use when it is given back.
func TestIdleTimeChanges(t *testing.T) {
	p := newServedPool(t, func(c *PoolConfig) { c.Backends[0].MaxConnections = 2 })
	b := p.all()[0]
	idle, _ := b.Connect(time.Now(), false)
	used, _ := b.Connect(time.Now(), false)
	idle.Release(0)
	c := *p.config.Load()
	c.Timeouts.Idle = time.Hour
	p.Apply(c)
	if n := b.conns.opened(); n != 1 {
		t.Errorf("%d connections are open, want the one in use", n)
	}
	second, err := b.Connect(time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Connect(time.Now(), false); ConnectReason(err) != reason.Overloaded {
		t.Errorf("beside two in use, of before and after the change: got %v, want %s", err, reason.Overloaded)
	}
	used.Release(0)
	second.Release(0)
	if again, _ := b.Connect(time.Now().Add(30*time.Minute), false); again != second {
		t.Error("the connection that was kept for an hour was not used")
	}
	if n := b.conns.opened(); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}
