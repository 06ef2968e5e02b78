package limiter

import (
	"net/netip"
	"testing"
	"unsafe"
)

// The bucket that a request has found may be closed before the request is decided. The request
// counts for the client that decides it, and for no other.
func TestRequestOutlivesWhatItFound(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		for name, meanwhile := range map[string]func(*Limiter){
			"set":                 func(l *Limiter) { l.grant(id, Terms{Limit: Limit{50, 1}}, t0) },
			"deleted and created": func(l *Limiter) { l.delete(id, t0); l.grant(id, Terms{Limit: Limit{50, 1}}, t0) },
			"reset":               func(l *Limiter) { l.Reset(id) },
		} {
			l := newLimiter()
			l.grant(id, Terms{Limit: Limit{100, 1}}, t0)
			c := l.by("192.0.2.1", "the key of acme")
			meanwhile(l)
			var d Decision
			lease := l.admit(c, t0, &d)
			u, _ := l.usage(id, t0)
			if u.Allowed != u.InFlight || (u.Allowed == 1) != (d.Capacity != 10) {
				t.Errorf("%s, %s: %+v by %+v", id, name, u, d)
			}
			lease.Release()
			if v, _ := l.usage(id, t0); v.InFlight != 0 || v.Allowed != u.Allowed {
				t.Errorf("%s, %s: %+v at the end", id, name, v)
			}
		}
	}
}

// A request that has entered with one client, and is decided about as another's, leaves the first.
func TestAbandon(t *testing.T) {
	first, second := client("192.0.2.1"), client("192.0.2.2")
	for _, bound := range []int64{0, 1} {
		l := newLimiter()
		terms := Terms{Limit: Limit{100, 1}, MaxInFlight: bound}
		l.grant(first, terms, t0)
		l.grant(second, terms, t0)
		b := l.by("192.0.2.1", "").bucket
		b.enter()
		in := b.account
		var d Decision
		b = l.by("192.0.2.2", "").bucket
		if !b.admit(&Client{}, &in, t0, &d) || in != b.account {
			t.Fatalf("bound %d: not decided about by the second", bound)
		}
		if u, _ := l.usage(first, t0); u != (Usage{Tokens: 100}) {
			t.Errorf("bound %d: %+v of the first", bound, u)
		}
		if u, _ := l.usage(second, t0); u.InFlight != 1 || u.Allowed != 1 {
			t.Errorf("bound %d: %+v of the second", bound, u)
		}
	}
}

// The bound holds from the moment on at which requests can find a bucket.
func TestBoundHoldsInANewBucket(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0)
	b := l.by("192.0.2.1", "").bucket
	b.enter()
	if next := newBucket(b.plan, b.account); next.enter() != refused {
		t.Error("two in flight, one in the bucket and one in the next")
	}
}

// A reset that comes between a request's entry and its rejection leaves no count below 0.
func TestResetBeforeRejection(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{1, 1}}, t0)
	b := l.by("192.0.2.1", "").bucket
	b.enter()
	l.Reset(id)
	b.account.reject(&Decision{Exceeded: Rate})
	b.account.left.Add(1)
	if u, _ := l.usage(id, t0); u.Allowed != 0 || u.Limited != 1 || u.InFlight != 0 {
		t.Errorf("%+v, want one rejected", u)
	}
}

// A reset may come with the move of all clients to a new table.
func TestManyResets(t *testing.T) {
	l := newLimiter()
	for i := range 2 * leastEntries {
		l.grant(ID{Prefix: netip.PrefixFrom(ipv4(i), 32)}, Terms{Limit: Limit{5, 1}}, t0)
	}
	for i := range 2 * leastEntries {
		c := l.Identify(ipv4(i), nil)
		l.take(c, t0)
		id := ID{Prefix: netip.PrefixFrom(ipv4(i), 32)}
		l.Reset(id)
		l.take(c, t0)
		if u, _ := l.usage(id, t0); u.Allowed != 1 || u.Tokens != 4 {
			t.Fatalf("%s: %+v, want one allowed since the reset", id, u)
		}
	}
}

func TestSizesAreAsDocumented(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 64 {
		t.Errorf("an entry has %d bytes, want a line of the cache", n)
	}
	if n := unsafe.Sizeof(group{}); n != 288 {
		t.Errorf("a group has %d bytes, want the 288 that the allocator has a size for", n)
	}
	if n := unsafe.Sizeof(account{}); n != 64 {
		t.Errorf("an account has %d bytes, want a line of the cache", n)
	}
	if n := unsafe.Sizeof(named{}); n != 64 {
		t.Errorf("%d bytes name a client, want 64", n)
	}
}
