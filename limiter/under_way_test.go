package limiter

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withBound returns a limiter whose unregistered clients may have this many requests in flight.
func withBound(most int64, shadow bool) *Limiter {
	c := DefaultConfig()
	c.Default = Default{Limit: Limit{1000, 1}, MaxInFlight: most, Shadow: shadow}
	return New(c)
}

func (u *underWay) clients() (n int) {
	for i := range u.shards {
		n += len(u.shards[i].inFlight)
	}
	return n
}

// TestUnderWay bounds the requests in flight of each unregistered client by itself.
func TestUnderWay(t *testing.T) {
	l := withBound(2, false)
	l.grant(client("192.0.2.9"), Terms{Limit: Limit{1000, 1}}, t0)
	admit := func(addr string) (Lease, Decision) {
		var d Decision
		lease := l.admit(l.by(addr, ""), t0, &d)
		return lease, d
	}
	first, _ := admit("192.0.2.1")
	second, _ := admit("192.0.2.1")
	_, refused := admit("192.0.2.1")
	if refused.Allowed || refused.Exceeded != InFlight || refused.RetryAfter != time.Second || refused.Remaining != 998 || refused.Capacity != 1000 {
		t.Errorf("the third: %+v", refused)
	}
	if all := l.limited(9, t0); len(all) != 1 {
		t.Errorf("%+v are limited, want the client", all)
	}
	var others []Lease
	for _, addr := range []string{"192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.9", "192.0.2.9", "192.0.2.9"} {
		lease, d := admit(addr)
		if !d.Allowed {
			t.Errorf("%s: %+v", addr, d)
		}
		others = append(others, lease)
	}
	if _, d := admit("2001:db8::3"); d.Allowed { // the third of its network
		t.Errorf("%+v", d)
	}
	var d Decision
	if lease := l.admitExempt(l.by("192.0.2.1", ""), t0, &d); d.Allowed || d.Exceeded != InFlight || lease != (Lease{}) {
		t.Errorf("an exempt request over the bound: %+v", d)
	}
	first.Release()
	exempt := l.admitExempt(l.by("192.0.2.1", ""), t0, &d)
	if !d.Allowed || d.Exceeded != Nothing {
		t.Errorf("an exempt request within the bound: %+v", d)
	}
	if _, d := admit("192.0.2.1"); d.Allowed {
		t.Error("an exempt request does not count")
	}
	if s := l.Standing(netip.MustParseAddr("192.0.2.1"), nil); s.InFlight != 2 || s.Terms.MaxInFlight != 2 {
		t.Errorf("%+v", s)
	}
	for _, lease := range append(others, second, exempt) {
		lease.Release()
	}
	if n := l.underWay.clients(); n != 0 {
		t.Errorf("%d clients are held without a request in flight", n)
	}
}

// TestUnderWayWithoutToken: a request that finds no token is not in flight.
func TestUnderWayWithoutToken(t *testing.T) {
	l := withBound(2, false)
	l.setDefault(Default{Limit: Limit{1, 0.001}, MaxInFlight: 2}, func() int64 { return t0 })
	var d Decision
	l.admit(l.by("192.0.2.1", ""), t0, &d)
	for range 5 {
		if l.admit(l.by("192.0.2.1", ""), t0, &d); d.Exceeded != Rate {
			t.Fatalf("%+v", d)
		}
	}
}

// TestUnderWayInShadow lets all in. Those beyond the bound do not count towards it.
func TestUnderWayInShadow(t *testing.T) {
	l := withBound(1, true)
	var d Decision
	first := l.admit(l.by("192.0.2.1", ""), t0, &d)
	for range 3 {
		if lease := l.admit(l.by("192.0.2.1", ""), t0, &d); !d.Allowed || d.Exceeded != InFlight || !d.Shadow {
			t.Errorf("%+v", d)
		} else {
			defer lease.Release()
		}
		if l.admitExempt(l.by("192.0.2.1", ""), t0, &d).Release(); !d.Allowed {
			t.Errorf("exempt: %+v", d)
		}
	}
	first.Release()
	if n := l.underWay.clients(); n != 0 {
		t.Errorf("%d clients are held", n)
	}
}

// TestUnderWayChanges the bound while requests are in flight.
func TestUnderWayChanges(t *testing.T) {
	l := withBound(0, false)
	ask := func() (Lease, bool) {
		var d Decision
		lease := l.admit(l.by("192.0.2.1", ""), t0, &d)
		return lease, d.Allowed
	}
	set := func(most int64) {
		l.setDefault(Default{Limit: Limit{1000, 1}, MaxInFlight: most}, func() int64 { return t0 })
	}
	uncounted, _ := ask()
	if uncounted != (Lease{}) {
		t.Error("a request is counted without a bound")
	}
	before := l.anonymous.Load()
	set(2)
	if l.anonymous.Load() != before {
		t.Error("the table of buckets was replaced")
	}
	a, _ := ask()
	b, _ := ask()
	if _, ok := ask(); ok {
		t.Error("the new bound does not hold")
	}
	set(1)
	a.Release()
	if _, ok := ask(); ok {
		t.Error("the lower bound does not hold")
	}
	set(0)
	if c, ok := ask(); !ok || c != (Lease{}) {
		t.Error("the bound holds on")
	}
	b.Release()
	uncounted.Release()
	if n := l.underWay.clients(); n != 0 {
		t.Errorf("%d clients are held", n)
	}
}

// TestUnderWayIsExact has many requests of few clients come and go, while the bucket's limit
// changes.
func TestUnderWayIsExact(t *testing.T) {
	const most, clients, each = 3, 4, 2000
	l := withBound(most, false)
	var inFlight, worst [clients]atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			at := i % clients
			c := l.Identify(netip.AddrFrom4([4]byte{192, 0, 2, byte(at)}), nil)
			for range each {
				var d Decision
				lease := l.Admit(c, time.Now(), &d)
				if d.Exceeded == Nothing {
					if n := inFlight[at].Add(1); n > worst[at].Load() {
						worst[at].Store(n)
					}
					inFlight[at].Add(-1)
				}
				lease.Release()
			}
		})
	}
	for i := range 20 {
		l.SetDefault(Default{Limit: Limit{int64(1e9 + i), 1e9}, MaxInFlight: most})
	}
	all.Wait()
	for i := range worst {
		if n := worst[i].Load(); n > most {
			t.Errorf("client %d had %d requests in flight", i, n)
		}
	}
	if n := l.underWay.clients(); n != 0 {
		t.Errorf("%d clients are held", n)
	}
}
