package upstream

import (
	"testing"
	"time"
)

// newPrivate returns a private connection of the only backend of a pool, in use.
func newPrivate(t *testing.T, change func(*PoolConfig)) (*Pool, *Backend, *Private) {
	t.Helper()
	p := newServedPool(t, change)
	b := p.all()[0]
	c, err := b.Connect(time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	return p, b, c.Private()
}

// TestPrivateConnection has an owner use its connection again after something has happened.
func TestPrivateConnection(t *testing.T) {
	other := newServedPool(t, func(*PoolConfig) {})
	for _, test := range []struct {
		name string
		idle time.Duration // timeouts.idle
		said time.Duration
		do   func(p *Pool, b *Backend, o *Private)
		want bool // it is still there
	}{
		{"nothing", time.Minute, 0, func(*Pool, *Backend, *Private) {}, true},
		{"the owner leaves", time.Minute, 0, func(_ *Pool, _ *Backend, o *Private) { _ = o.Close() }, false},
		{"the backend is down", time.Minute, 0, func(p *Pool, b *Backend, _ *Private) { p.Mark(b, Down, true) }, false},
		{"the backend drains", time.Minute, 0, func(p *Pool, b *Backend, _ *Private) { p.Mark(b, Draining, true) }, false},
		{"the pool goes", time.Minute, 0, func(p *Pool, _ *Backend, _ *Private) { p.Retire() }, false},
		{"the process ends", time.Minute, 0, func(p *Pool, _ *Backend, _ *Private) { p.CloseUnused() }, false},
		{"another request has lost the keep-alive race", time.Minute, 0, func(_ *Pool, b *Backend, _ *Private) { b.CloseIdle() }, true},
		{"a while", time.Millisecond, 0, func(*Pool, *Backend, *Private) { time.Sleep(20 * time.Millisecond) }, false},
		{"its backend is about to close it", time.Minute, time.Second, func(*Pool, *Backend, *Private) {}, false},
		{"none is kept", 0, 0, func(*Pool, *Backend, *Private) {}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, b, o := newPrivate(t, func(c *PoolConfig) { c.Timeouts.Idle = test.idle })
			if pick(p, o) != nil || b.TakePrivate(o) != nil {
				t.Error("it was taken while it was in use")
			}
			o.Release(test.said)
			test.do(p, b, o)
			if got := pick(p, o); (got == b) != test.want || got != nil && got != b {
				t.Errorf("the backend is %v", got)
			}
			if pick(other, o) != nil || other.all()[0].TakePrivate(o) != nil {
				t.Error("it serves another pool")
			}
			c := b.TakePrivate(o)
			if (c != nil) != test.want {
				t.Errorf("taken: %v", c != nil)
			}
			if c != nil {
				if shared, _ := b.Connect(time.Now(), false); shared == c {
					t.Error("another request got the connection")
				} else {
					shared.Discard()
				}
				c.Discard()
			}
			if n := b.conns.opened(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// TestPrivateConnectionInUse is closed when it is released, if the pool has gone.
func TestPrivateConnectionInUse(t *testing.T) {
	p, b, o := newPrivate(t, func(*PoolConfig) {})
	p.Retire()
	if n := b.conns.opened(); n != 1 {
		t.Error("a connection in use was closed")
	}
	if o.Release(0); b.conns.opened() != 0 || b.TakePrivate(o) != nil {
		t.Error("the connection is kept")
	}
}

// TestPrivateConnectionOfABackup serves its owner on once other backends take requests again, and
// whatever else is full.
func TestPrivateConnectionOfABackup(t *testing.T) {
	p, b, o := newPrivate(t, func(c *PoolConfig) {
		c.Backends[0].Backup, c.Backends[0].MaxConnections = true, 1
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL("http://127.0.0.1:1"), Weight: 1})
	})
	o.Release(0)
	if got := p.Pick(0, time.Now(), &Tried{}); got == nil || got == b {
		t.Errorf("another request goes to the backup, or to none: %v", got)
	}
	if got := pick(p, o); got != b {
		t.Errorf("the owner goes to %v", got)
	}
	o.take(&b.conns).Discard()
}

// pick returns the backend that a request gets whose client owns the connection.
func pick(p *Pool, o *Private) *Backend { return p.PickPrivate(o, time.Now(), &Tried{}) }
