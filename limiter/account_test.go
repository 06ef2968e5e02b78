package limiter

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// client returns the ID of an address or range.
func client(s string) ID {
	if p, err := netip.ParsePrefix(s); err == nil {
		return ID{Prefix: p}
	}
	addr := netip.MustParseAddr(s)
	return ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
}

// grant registers a client, with a key of the name's own if it has one.
func (l *Limiter) grant(id ID, t Terms, now int64) {
	l.set(Registration{id, digests("the key of " + id.Name), t}, now)
}

// digests returns the digests of the keys.
func digests(keys ...string) (all [MaxKeys]KeyDigest) {
	for i, key := range keys {
		all[i] = DigestKey([]byte(key))
	}
	return all
}

func (l *Limiter) by(addr, key string) Client {
	return l.Identify(netip.MustParseAddr(addr), []byte(key))
}

func TestPrecedence(t *testing.T) {
	l := newLimiter()
	l.grant(ID{Name: "acme"}, Terms{Limit: Limit{1, 1}}, t0)
	l.grant(client("192.0.2.1"), Terms{Limit: Limit{2, 1}}, t0)
	l.grant(client("192.0.2.0/24"), Terms{Limit: Limit{3, 1}}, t0)
	l.grant(client("192.0.0.0/16"), Terms{Limit: Limit{4, 1}}, t0)
	for _, test := range []struct {
		addr, key string
		want      int64
	}{
		{"192.0.2.1", "the key of acme", 1},
		{"198.51.100.1", "the key of acme", 1},
		{"192.0.2.1", "the key of nobody", 2},
		{"192.0.2.1", "", 2},
		{"192.0.2.2", "THE KEY OF ACME", 3},
		{"192.0.3.1", "", 4},
		{"198.51.100.1", "the key of acm", 10},
		{"198.51.100.1", string(make([]byte, MaxKeySize+1)), 10},
	} {
		if got := l.take(l.by(test.addr, test.key), t0).Capacity; got != test.want {
			t.Errorf("%s with key %q: capacity %d, want %d", test.addr, test.key, got, test.want)
		}
	}
	if d := l.take(l.Identify(netip.Addr{}, []byte("the key of acme")), t0); d.Capacity != 1 {
		t.Errorf("a key without an address: %+v", d)
	}
}

// A key that changes hands does so whole, however often and in whatever order it is told.
func TestKeysChange(t *testing.T) {
	l := newLimiter()
	set := func(name, key string, capacity int64) {
		l.set(Registration{ID{Name: name}, digests(key), Terms{Limit: Limit{capacity, 0.001}}}, t0)
	}
	capacity := func(key string) int64 { return l.take(l.by("192.0.2.1", key), t0+int64(time.Hour)).Capacity }
	for i := range 100 {
		set("acme", fmt.Sprint("key ", i), 1000+int64(i))
		if got := capacity(fmt.Sprint("key ", i)); got != 1000+int64(i) {
			t.Fatalf("key %d: capacity %d", i, got)
		}
		if got := capacity(fmt.Sprint("key ", i-1)); got != 10 {
			t.Fatalf("key %d is still good after it was replaced: capacity %d", i-1, got)
		}
	}
	if u, _ := l.usage(ID{Name: "acme"}, t0); u.Allowed != 100 {
		t.Errorf("%d allowed over all keys, want 100", u.Allowed)
	}
	set("other", "key 99", 5) // before it is told that acme has another
	if got := capacity("key 99"); got != 5 {
		t.Errorf("the key is not its new holder's: capacity %d", got)
	}
	set("acme", "key 100", 6)
	if a, b := capacity("key 99"), capacity("key 100"); a != 5 || b != 6 || l.Registered() != 2 {
		t.Errorf("capacities %d and %d of %d clients, want 5 and 6 of 2", a, b, l.Registered())
	}
}

func TestMaxInFlight(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		l := newLimiter()
		l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 2}, t0)
		found := func() Client { return l.by("192.0.2.1", "the key of acme") }
		var d Decision
		first := l.admit(found(), t0, &d)
		second := l.admit(found(), t0, &d)
		if !d.Allowed || d.Remaining != 98 {
			t.Fatalf("%s: the second: %+v", id, d)
		}
		l.admit(found(), t0, &d).Release()
		if want := (Decision{Exceeded: InFlight, Capacity: 100, Remaining: 98, RetryAfter: time.Second, Reset: time.Second, Window: 100 * time.Second}); d != want {
			t.Errorf("%s: the third: %+v, want %+v", id, d, want)
		}
		l.admit(found(), t0+int64(time.Hour), &d)
		if d.Exceeded != InFlight || d.Remaining != 100 || d.Reset != 0 {
			t.Errorf("%s: with a full bucket: %+v", id, d)
		}
		first.Release()
		if d = l.take(found(), t0); !d.Allowed || d.Remaining != 97 {
			t.Errorf("%s: after one has ended: %+v", id, d)
		}
		l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0)
		if d = l.take(found(), t0); d.Exceeded != InFlight {
			t.Errorf("%s: with a bound of 1 and one in flight since before: %+v", id, d)
		}
		second.Release()
		if d = l.take(found(), t0); !d.Allowed {
			t.Errorf("%s: with none in flight: %+v", id, d)
		}
		if u, _ := l.usage(id, t0); u.InFlight != 0 || u.Allowed != 4 || u.Limited != 3 {
			t.Errorf("%s: %+v, want 4 allowed, 3 limited, none in flight", id, u)
		}
	}
}

// Rejected requests are not in flight. Those of a client deleted and created again are, and count
// for nothing else.
func TestLeases(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{1, 1}}, t0)
	var d Decision
	lease := l.admit(l.by("192.0.2.1", ""), t0, &d)
	for range 3 {
		l.admit(l.by("192.0.2.1", ""), t0, &d).Release()
	}
	if u, _ := l.usage(id, t0); u.InFlight != 1 || u.Allowed != 1 || u.Limited != 3 {
		t.Errorf("%+v, want 1 in flight, 1 allowed, 3 limited", u)
	}
	l.delete(id, t0)
	l.grant(id, Terms{Limit: Limit{1, 1}}, t0)
	if u, _ := l.usage(id, t0); u != (Usage{InFlight: 1}) {
		t.Errorf("%+v, want nothing of the client that was deleted but what is in flight", u)
	}
	lease.Release()
	if u, _ := l.usage(id, t0); u != (Usage{}) {
		t.Errorf("%+v, want nothing of the client that was deleted", u)
	}
}

// Deleting a client and creating it again does not raise its bound: requests in flight still count.
func TestDeletionEndsNothing(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		for _, before := range []int64{0, 1} {
			l := newLimiter()
			l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: before}, t0)
			var d Decision
			lease := l.admit(l.by("192.0.2.1", "the key of acme"), t0, &d)
			for range 3 {
				l.delete(id, t0+1000e9) // all tokens are back
				l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0+1000e9)
			}
			if d = l.take(l.by("192.0.2.1", "the key of acme"), t0+1000e9); d.Exceeded != InFlight {
				t.Errorf("%s: a second of one that may be in flight: %+v", id, d)
			}
			lease.Release()
			if d = l.take(l.by("192.0.2.1", "the key of acme"), t0+1000e9); !d.Allowed {
				t.Errorf("%s: none is in flight: %+v", id, d)
			}
			l.delete(id, t0+2000e9)
			if len(l.debts.byID) != 0 {
				t.Errorf("%s: remembered, with nothing spent or in flight", id)
			}
		}
	}
}

// Eight goroutines never have more in flight than the bound, whatever else changes; and in the end
// nothing is.
func TestMaxInFlightAtOnce(t *testing.T) {
	const bound = 3
	l, id := newLimiter(), client("192.0.2.1")
	terms := Terms{Limit: Limit{1_000_000_000, 1e6}, MaxInFlight: bound}
	l.grant(id, terms, t0)
	var wg sync.WaitGroup
	var under, admitted atomic.Int64
	for range 8 {
		wg.Go(func() {
			var d Decision
			for range 20_000 {
				lease := l.admit(l.by("192.0.2.1", ""), t0, &d)
				if !d.Allowed {
					continue
				}
				admitted.Add(1)
				if n := under.Add(1); n > bound {
					t.Errorf("%d in flight", n)
				}
				under.Add(-1)
				lease.Release()
			}
		})
	}
	for range 200 { // neighbours, so that the table grows
		l.grant(client(ipv4(int(admitted.Load())).String()), terms, t0)
	}
	wg.Wait()
	u, _ := l.usage(id, t0)
	if u.InFlight != 0 || u.Allowed != admitted.Load() || u.Allowed+u.Limited != 8*20_000 {
		t.Errorf("%+v, want none in flight, %d allowed and the rest limited", u, admitted.Load())
	}
}

func TestShadow(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{2, 1}, MaxInFlight: 1, Shadow: true}, t0)
	var d Decision
	lease := l.admit(l.by("192.0.2.1", ""), t0, &d)
	if !d.Allowed || !d.Shadow || d.Exceeded != Nothing {
		t.Errorf("the first: %+v", d)
	}
	if d = l.take(l.by("192.0.2.1", ""), t0); !d.Allowed || d.Exceeded != InFlight || d.Remaining != 1 {
		t.Errorf("a second at once: %+v", d)
	}
	lease.Release()
	l.take(l.by("192.0.2.1", ""), t0)
	if d = l.take(l.by("192.0.2.1", ""), t0); !d.Allowed || d.Exceeded != Rate {
		t.Errorf("a third token of two: %+v", d)
	}
	if u, _ := l.usage(id, t0); u != (Usage{Allowed: 2, ShadowLimited: 2, LastSeen: u.LastSeen}) {
		t.Errorf("%+v, want 2 within the limit and 2 beyond", u)
	}
	l.grant(id, Terms{Limit: Limit{2, 1}}, t0)
	if d = l.take(l.by("192.0.2.1", ""), t0); d.Allowed {
		t.Errorf("out of shadow mode: %+v", d)
	}
}

// In shadow mode a request over the bound takes no place under it, but is in flight.
func TestShadowOfTheBound(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{3, 0.001}, MaxInFlight: 2, Shadow: true}, t0)
	var leases []Lease
	for i, want := range []Exceeded{Nothing, Nothing, InFlight, InFlight, InFlight} {
		var d Decision
		leases = append(leases, l.admit(l.by("192.0.2.1", ""), t0, &d))
		if d.Exceeded != want || !d.Allowed {
			t.Errorf("request %d: %+v, want %v exceeded", i, d, want)
		}
	}
	if u, _ := l.usage(id, t0); u.InFlight != 5 || u.Allowed != 2 || u.ShadowLimited != 3 {
		t.Errorf("%+v, want 5 in flight, 2 allowed, 3 in shadow", u)
	}
	leases[0].Release() // 4 in flight, one of them within the bound
	if d := l.take(l.by("192.0.2.1", ""), t0); d.Exceeded != Nothing {
		t.Errorf("with one place: %+v", d)
	}
	var d Decision
	leases = append(leases[1:], l.admit(l.by("192.0.2.1", ""), t0, &d)) // no token: it would not stay either
	if after := l.take(l.by("192.0.2.1", ""), t0); d.Exceeded != Rate || after.Exceeded != Rate {
		t.Errorf("%+v and %+v, want two that lack a token", d, after)
	}
	for _, lease := range leases {
		lease.Release()
	}
	if u, _ := l.usage(id, t0); u.InFlight != 0 || u.Allowed != 3 || u.ShadowLimited != 5 {
		t.Errorf("%+v, want none in flight, 3 allowed, 5 in shadow", u)
	}
}

// A trial sees every request that its limit would decide about, and starts anew when it changes.
func TestTrial(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	live := Limit{10, 0.001}
	trial := func(capacity int64) {
		l.grant(id, Terms{Limit: live, Trial: Limit{capacity, 0.001}}, t0)
	}
	usage := func() Usage {
		u, _ := l.usage(id, t0)
		return u
	}
	trial(4)
	for range 6 {
		if d := l.take(l.by("192.0.2.1", ""), t0); !d.Allowed || d.Capacity != 10 || d.Exceeded != Nothing {
			t.Fatalf("a trial has rejected: %+v", d)
		}
	}
	if u := usage(); u.TrialLimited != 2 || u.Allowed != 6 {
		t.Errorf("%+v, want 2 of 6 beyond a trial of 4", u)
	}
	trial(4)
	if u := usage(); u.TrialLimited != 2 {
		t.Errorf("%+v: the same trial was begun anew", u)
	}
	trial(20)
	l.takeAll("192.0.2.1", t0) // 4 tokens, and one that is missing
	if u := usage(); u.TrialLimited != 0 || u.Limited != 1 {
		t.Errorf("%+v, want none beyond a wider trial", u)
	}
	trial(3)
	l.takeAll("192.0.2.1", t0)
	l.takeAll("192.0.2.1", t0)
	l.takeAll("192.0.2.1", t0)
	l.takeAll("192.0.2.1", t0)
	if u := usage(); u.TrialLimited != 1 || u.Limited != 5 {
		t.Errorf("%+v, want one of four requests, all rejected, beyond a trial of 3", u)
	}
	l.grant(id, Terms{Limit: live}, t0)
	if u := usage(); u.TrialLimited != 0 {
		t.Errorf("%+v without a trial", u)
	}
}

func TestUsageAndReset(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		l := newLimiter()
		if _, ok := l.usage(id, t0); ok || l.Reset(id) {
			t.Errorf("%s: usage or reset of an unregistered client", id)
		}
		l.grant(id, Terms{Limit: Limit{4, 2}, Trial: Limit{1, 1}}, t0)
		if u, _ := l.usage(id, t0); u != (Usage{Tokens: 4}) {
			t.Errorf("%s: %+v before anything, want 4 tokens", id, u)
		}
		found := l.by("192.0.2.1", "the key of acme")
		var d Decision
		lease := l.admit(found, t0, &d)
		for range 5 {
			l.take(found, t0)
		}
		seen := l.base.Add(time.Duration(t0))
		if seen.Nanosecond() != 0 {
			t.Errorf("%s: the time last seen, %s, looks more exact than it is", id, seen)
		}
		want := Usage{Tokens: 0.5, Allowed: 4, Limited: 2, TrialLimited: 5, InFlight: 1, LastSeen: seen}
		if u, _ := l.usage(id, t0+250e6); u != want {
			t.Errorf("%s: %+v, want %+v", id, u, want)
		}
		l.Reset(id)
		if u, _ := l.usage(id, t0); u != (Usage{Tokens: 4, InFlight: 1, LastSeen: seen}) {
			t.Errorf("%s: %+v after the reset, want 4 tokens and 1 in flight", id, u)
		}
		lease.Release()
		if d := l.take(found, t0); d.Remaining != 3 { // identified before the reset
			t.Errorf("%s: %+v after the reset", id, d)
		}
		if u, _ := l.usage(id, t0); u != (Usage{Tokens: 3, Allowed: 1, LastSeen: seen}) {
			t.Errorf("%s: %+v, want one of 4 tokens gone", id, u)
		}
	}
}

// What is counted while terms change, keys change and tables grow adds up.
func TestCountsAtOnce(t *testing.T) {
	l := newLimiter()
	id := ID{Name: "acme"}
	terms := []Terms{{Limit: Limit{1000, 1e6}}, {Limit: Limit{50, 1}, MaxInFlight: 2}, {Limit: Limit{5, 1}, Shadow: true}}
	keys := []string{"a key", "another"}
	set := func(i int) {
		l.set(Registration{id, digests(keys[i%2]), terms[i%3]}, t0)
	}
	set(0)
	var wg sync.WaitGroup
	var passed, rejected atomic.Int64
	for range 4 {
		wg.Go(func() {
			for i := range 5000 {
				switch d := l.take(l.by("192.0.2.1", keys[i%2]), t0); {
				case d.Capacity == 10: // the other key was good, and so the default limit decided
				case d.Allowed:
					passed.Add(1)
				default:
					rejected.Add(1)
				}
			}
		})
	}
	for i := range 2000 {
		set(i)
	}
	wg.Wait()
	u, _ := l.usage(id, t0)
	if u.Allowed+u.ShadowLimited != passed.Load() || u.Limited != rejected.Load() || u.InFlight != 0 {
		t.Errorf("%+v, want %d passed, %d rejected, none in flight", u, passed.Load(), rejected.Load())
	}
}
