package limiter

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const eachRange = "192.0.2.0/24"

// grantEach registers a range in which each address has a bucket.
func (l *Limiter) grantEach(within string, limit Limit, now int64) {
	l.grant(client(within), Terms{Limit: limit, Each: true}, now)
}

// takes has n requests of the address admitted, and returns how many were.
func (l *Limiter) takes(addr string, n int, now int64) (allowed int) {
	for range n {
		if l.take(l.by(addr, ""), now).Allowed {
			allowed++
		}
	}
	return allowed
}

// Each address of the range has a bucket, and each IPv6 network as if it were unregistered.
func TestEach(t *testing.T) {
	for _, tt := range []struct {
		within, a, b string
		shared       bool
	}{
		{"192.0.2.0/24", "192.0.2.1", "192.0.2.2", false},
		{"192.0.2.0/31", "192.0.2.0", "192.0.2.1", false},
		{"0.0.0.0/0", "192.0.2.1", "198.51.100.1", false},
		{"::/0", "2001:db8::1", "2001:db8:0:1::1", false},
		{"2001:db8::/32", "2001:db8::1", "2001:db8::2", true},
		{"2001:db8::/96", "2001:db8::1", "2001:db8::2", true},
		{"64:ff9b::/96", "64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
		{"64:ff9b::/32", "64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
	} {
		l := newLimiter()
		l.grantEach(tt.within, Limit{5, 1}, t0)
		if n := l.takes(tt.a, 9, t0); n != 5 {
			t.Errorf("%s: %d tokens of the first address, want 5", tt.within, n)
		}
		if n := l.takes(tt.b, 2, t0); (n == 0) != tt.shared {
			t.Errorf("%s: %d tokens of the second address, shared should be %v", tt.within, n, tt.shared)
		}
		addresses := int64(2)
		if tt.shared {
			addresses = 1
		}
		u, _ := l.usage(client(tt.within), t0)
		if u.Addresses != addresses || u.Allowed+u.Limited != 11 || u.Tokens != 5 || u.InFlight != 0 || l.Tracked() != int(addresses) {
			t.Errorf("%s: %+v with %d tracked", tt.within, u, l.Tracked())
		}
		if l.Registered() != 1 {
			t.Errorf("%d registered", l.Registered())
		}
	}
}

// On anything but a range, Each has no effect.
func TestEachOfOne(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), {Name: "acme"}} {
		l := newLimiter()
		l.grant(id, Terms{Limit: Limit{5, 1}, Each: true}, t0)
		l.take(l.by("192.0.2.1", "the key of acme"), t0)
		if u, _ := l.usage(id, t0); u.Addresses != 0 || u.Tokens != 4 || l.Tracked() != 0 {
			t.Errorf("%s: %+v, %d tracked", id, u, l.Tracked())
		}
	}
	if field, _, ok := (Terms{Limit: Limit{5, 1}, Each: true, Trial: Limit{5, 1}}).Check(); ok || field != "trial" {
		t.Errorf("with a trial: %q, %v", field, ok)
	}
}

// The addresses of a range with a bucket each have, at the same requests, what unregistered clients
// have with the same limit.
func TestEachIsLikeTheDefault(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Default = Default{Limit: Limit{3, 1000}, MaxInFlight: 2}
	cfg.MaxTracked = 40
	plain, each := New(cfg), New(cfg)
	each.SetDefault(Default{Limit: Limit{1, 1}})
	each.grant(client("10.0.0.0/8"), Terms{Limit: cfg.Default.Limit, MaxInFlight: 2, Each: true}, t0)
	var held [2][]Lease
	for i := range 30_000 {
		now := t0 + int64(i)*30_000
		addr := ipv4(i * i % 97 % 40)
		var d [2]Decision
		for j, l := range []*Limiter{plain, each} {
			held[j] = append(held[j], l.admit(l.Identify(addr, nil), now, &d[j]))
			if i%3 > 0 {
				held[j][0].Release()
				held[j] = held[j][1:]
			}
			for len(held[j]) > 30 {
				held[j][0].Release()
				held[j] = held[j][1:]
			}
		}
		if d[0] != d[1] {
			t.Fatalf("request %d, of %s: %+v, want %+v", i, addr, d[1], d[0])
		}
	}
	u, _ := each.usage(client("10.0.0.0/8"), t0)
	if u.Allowed == 0 || u.Limited == 0 || u.Allowed+u.Limited != 30_000 || u.InFlight != int64(underWayOf(held[1])) || each.Tracked() != int(u.Addresses) {
		t.Errorf("%+v, with %d leases held and %d tracked", u, underWayOf(held[1]), each.Tracked())
	}
}

// underWayOf counts the leases of requests in flight.
func underWayOf(leases []Lease) (n int) {
	for _, s := range leases {
		if s.account != nil {
			n++
		}
	}
	return n
}

// What each address has spent stays spent when the limit of the range changes.
func TestEachChanges(t *testing.T) {
	l, id := newLimiter(), client(eachRange)
	l.grantEach(eachRange, Limit{10, 1}, t0)
	l.takes("192.0.2.1", 4, t0)
	l.takes("192.0.2.2", 10, t0)
	found := l.by("192.0.2.1", "")
	l.grantEach(eachRange, Limit{20, 1}, t0)
	if d := l.take(found, t0); d.Capacity != 20 || d.Remaining != 15 {
		t.Errorf("4 and one more spent of 20: %+v", d)
	}
	if d := l.take(l.by("192.0.2.2", ""), t0); d.Remaining != 9 {
		t.Errorf("10 and one more spent of 20: %+v", d)
	}
	if d := l.take(l.by("192.0.2.3", ""), t0); d.Remaining != 19 {
		t.Errorf("one of 20 spent: %+v", d)
	}
	l.grant(id, Terms{Limit: Limit{20, 1}, Each: true, Blocked: true}, t0)
	if d := l.take(found, t0); d.Exceeded != Blocked {
		t.Errorf("blocked: %+v", d)
	}
	l.grantEach(eachRange, Limit{20, 1}, t0)
	if d := l.take(found, t0); d.Remaining != 14 {
		t.Errorf("no longer blocked: %+v", d)
	}
	if u, _ := l.usage(id, t0); u.Allowed != 18 || u.Blocked != 1 || u.Addresses != 3 {
		t.Errorf("%+v", u)
	}
	l.Reset(id)
	if d := l.take(found, t0); d.Remaining != 19 {
		t.Errorf("after a reset: %+v", d)
	}
	if u, _ := l.usage(id, t0); u.Allowed != 1 || u.Addresses != 1 || l.Tracked() != 1 {
		t.Errorf("after a reset: %+v, with %d tracked", u, l.Tracked())
	}
}

// With the buckets of addresses switched on, each address begins with what the range had spent; with
// them off, the range begins with the most that one had spent.
func TestEachOnAndOff(t *testing.T) {
	l, id := newLimiter(), client(eachRange)
	one := func(capacity int64) { l.grant(id, Terms{Limit: Limit{capacity, 1}}, t0) }
	one(10)
	l.takes("192.0.2.1", 3, t0)
	found := l.by("192.0.2.2", "")
	l.grantEach(eachRange, Limit{10, 1}, t0)
	if d := l.take(found, t0); d.Remaining != 6 {
		t.Errorf("on, an address after 3 of the range: %+v", d)
	}
	if d := l.take(l.by("192.0.2.3", ""), t0); d.Remaining != 6 {
		t.Errorf("on, another address after 3 of the range: %+v", d)
	}
	if u, _ := l.usage(id, t0); u.Tokens != 7 || u.Addresses != 2 {
		t.Errorf("on: %+v", u)
	}
	l.takes("192.0.2.4", 5, t0)
	found = l.by("192.0.2.5", "")
	one(10)
	if d := l.take(found, t0); d.Remaining != 1 {
		t.Errorf("off, after at most 8 of an address: %+v", d)
	}
	if l.Tracked() != 0 {
		t.Errorf("%d tracked, with a bucket for the range", l.Tracked())
	}
	for range 100 {
		l.grantEach(eachRange, Limit{10, 1}, t0)
		one(10)
	}
	if n := l.takes("192.0.2.6", 10, t0); n != 1 {
		t.Errorf("%d tokens after a hundred changes, want 1", n)
	}
	l.grantEach(eachRange, Limit{5, 1}, t0)
	l.grantEach(eachRange, Limit{10, 1}, t0)
	one(20)
	if n := l.takes("192.0.2.6", 20, t0); n > 10 {
		t.Errorf("%d tokens of 20 after 10 of 10", n)
	}
	if u, _ := l.usage(id, t0); u.Addresses != 0 {
		t.Errorf("off: %+v", u)
	}
}

// Deletion leaves each address with its debt, as an unregistered client and in the range if that is
// registered again, with a bucket each or one.
func TestEachDeleted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		again Terms
		want  map[string]int // tokens
	}{
		{"a bucket each", Terms{Limit: Limit{20, 1}, Each: true}, map[string]int{"192.0.2.1": 5, "192.0.2.2": 17, "192.0.2.3": 20}},
		{"a bucket each, smaller", Terms{Limit: Limit{6, 1}, Each: true}, map[string]int{"192.0.2.1": 0, "192.0.2.2": 3, "192.0.2.3": 6}},
		{"one bucket", Terms{Limit: Limit{20, 1}}, map[string]int{"192.0.2.1": 5}},
		{"one bucket, of another address", Terms{Limit: Limit{20, 1}}, map[string]int{"192.0.2.3": 5}},
	} {
		l, id := newLimiter(), client(eachRange) // 10 tokens by default
		l.grantEach(eachRange, Limit{20, 1}, t0)
		l.takes("192.0.2.1", 15, t0)
		l.takes("192.0.2.2", 3, t0)
		l.delete(id, t0)
		if _, ok := l.usage(id, t0); ok || l.Registered() != 0 {
			t.Errorf("%s: still registered", tt.name)
		}
		for addr, want := range map[string]int{"192.0.2.1": 0, "192.0.2.2": 7, "192.0.2.3": 10} {
			if n := l.takes(addr, 20, t0); n != want {
				t.Errorf("%s, %s unregistered: %d tokens, want %d", tt.name, addr, n, want)
			}
		}
		l.grant(id, tt.again, t0)
		for addr, want := range tt.want {
			if n := l.takes(addr, 30, t0); n != want {
				t.Errorf("%s, %s registered again: %d tokens, want %d", tt.name, addr, n, want)
			}
		}
		l.delete(id, t0)
		l.delete(id, t0)
		l.grant(id, Terms{Limit: Limit{20, 1}}, t0+100e9)
		if n := l.takes("192.0.2.1", 30, t0+100e9); n != 20 {
			t.Errorf("%s: %d tokens after a pause, want 20", tt.name, n)
		}
		l.delete(id, t0+200e9)
		if len(l.debts.byID) != 0 {
			t.Errorf("%s: %d debts, all repaid", tt.name, len(l.debts.byID))
		}
	}
}

// All tables together hold no more clients than the bound, full buckets in one make room in another,
// and no debtor is forgotten.
func TestEachSharesThePlaces(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Default.Limit = Limit{1, 1}
	cfg.MaxTracked = 100
	l := New(cfg)
	l.grant(client("10.0.0.0/17"), Terms{Limit: Limit{1, 0.001}, Each: true}, t0) // a debt lasts 1000 s
	l.grant(client("10.0.128.0/17"), Terms{Limit: Limit{1, 1}, Each: true}, t0)
	for i := range 60 {
		l.take(l.Identify(ipv4(i), nil), t0) // debtors
		l.take(l.Identify(ipv4(1<<15+i), nil), t0)
	}
	if n := l.Tracked(); n != 100 || l.Overflowed() == 0 {
		t.Errorf("%d tracked, want 100; %d in overflow", n, l.Overflowed())
	}
	later := t0 + 60e9 // the second range's are full again, and unregistered clients take their places
	for i := range 1000 {
		l.take(l.Identify(ipv4(1<<16+i%30), nil), later)
		if n := l.Tracked(); n > 100 {
			t.Fatalf("%d tracked, want at most 100", n)
		}
	}
	if n := l.anonymous.Load().held.Load(); n != 30 {
		t.Errorf("%d unregistered clients have a place, want 30", n)
	}
	for i := range 60 {
		if d := l.take(l.Identify(ipv4(i), nil), later); d.Allowed {
			t.Errorf("debtor %d was forgotten", i)
		}
	}
	for _, id := range []ID{client("10.0.0.0/17"), client("10.0.128.0/17")} {
		l.delete(id, later)
	}
	if n := l.Tracked(); n != int(l.anonymous.Load().held.Load()) || n > 100 {
		t.Errorf("%d tracked after the deletions, %d unregistered", n, l.anonymous.Load().held.Load())
	}
	for i := range 60 {
		l.take(l.Identify(ipv4(i), nil), later+500e9)
	}
}

// Addresses that had to share a bucket keep its debt when the range is deleted or has one bucket.
func TestEachOverflowIsKept(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.Default.Limit = Limit{1, 0.001}
		cfg.MaxTracked = 1
		l, id := New(cfg), client("10.0.0.0/16")
		l.take(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), t0) // has the only place
		l.grant(id, Terms{Limit: Limit{1, 0.001}, Each: true}, t0)
		if d := l.take(l.Identify(ipv4(1), nil), t0); !d.Allowed {
			t.Fatalf("%+v", d)
		}
		if deleted {
			l.delete(id, t0)
		} else {
			l.grant(id, Terms{Limit: Limit{1, 0.001}}, t0)
		}
		if d := l.take(l.Identify(ipv4(1), nil), t0); d.Allowed {
			t.Errorf("deleted %v: the debt is forgotten: %+v", deleted, d)
		}
	}
}

// The bound of requests in flight is each address's own, also of exempt requests and in shadow mode.
func TestEachMaxInFlight(t *testing.T) {
	l, id := newLimiter(), client(eachRange)
	terms := Terms{Limit: Limit{100, 1}, MaxInFlight: 2, Each: true}
	l.grant(id, terms, t0)
	var d Decision
	admit := func(addr string) Lease { return l.admit(l.by(addr, ""), t0, &d) }
	exempt := func(addr string) Lease { return l.admitExempt(l.by(addr, ""), t0, &d) }
	leases := []Lease{admit("192.0.2.1"), exempt("192.0.2.1"), admit("192.0.2.2")}
	if admit("192.0.2.1"); d.Exceeded != InFlight || d.Allowed || d.RetryAfter != time.Second || d.Remaining != 99 {
		t.Errorf("a third: %+v", d)
	}
	if exempt("192.0.2.1"); d != (Decision{Exceeded: InFlight, RetryAfter: time.Second}) {
		t.Errorf("a third, exempt: %+v", d)
	}
	if u, _ := l.usage(id, t0); u.Allowed != 2 || u.Limited != 1 || u.InFlight != 3 {
		t.Errorf("%+v, want 2 allowed, 1 limited, 3 in flight", u)
	}
	if s := l.Standing(netip.MustParseAddr("192.0.2.1"), nil); s.ID != id || s.InFlight != 2 {
		t.Errorf("standing %+v", s)
	}
	terms.Shadow = true
	l.grant(id, terms, t0)
	leases = append(leases, admit("192.0.2.1"))
	if d.Exceeded != InFlight || !d.Allowed || !d.Shadow {
		t.Errorf("a third in shadow mode: %+v", d)
	}
	leases = append(leases, exempt("192.0.2.1"))
	if u, _ := l.usage(id, t0); u.Allowed != 2 || u.ShadowLimited != 1 || u.InFlight != 5 {
		t.Errorf("%+v, want 2 allowed, 1 in shadow mode, 5 in flight", u)
	}
	l.delete(id, t0)
	l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0)
	if admit("192.0.2.9"); d.Exceeded != InFlight {
		t.Errorf("registered again as one client: %+v", d)
	}
	for _, s := range leases {
		s.Release()
	}
	if s := admit("192.0.2.9"); d.Exceeded != Nothing {
		t.Errorf("with none in flight: %+v", d)
	} else {
		s.Release()
	}
	if u, _ := l.usage(id, t0); u.InFlight != 0 {
		t.Errorf("%+v at the end", u)
	}
}

// A range that changes amid the requests of an address hands out no token that neither bucket has. If
// its own bucket takes the place of the address's, or the default limit does, the two may give what
// they have at the same time, and the debt that is left is exact.
func TestEachSwitchedAtOnce(t *testing.T) {
	const capacity, workers = 20, 8
	each, one := Terms{Limit: Limit{capacity, 1}, Each: true}, Terms{Limit: Limit{capacity, 1}}
	for _, tt := range []struct {
		name   string
		before Terms
		change func(*Limiter, ID)
		most   int64
	}{
		{"on", one, func(l *Limiter, id ID) { l.grant(id, each, t0) }, capacity},
		{"off", each, func(l *Limiter, id ID) { l.grant(id, one, t0) }, 2 * capacity},
		{"another limit", each, func(l *Limiter, id ID) { l.grant(id, Terms{Limit: Limit{capacity, 2}, Each: true}, t0) }, capacity},
		{"deleted", each, func(l *Limiter, id ID) { l.delete(id, t0) }, 2 * capacity},
		{"deleted and registered", each, func(l *Limiter, id ID) { l.delete(id, t0); l.grant(id, each, t0) }, 2 * capacity},
		{"reset", each, func(l *Limiter, id ID) { l.Reset(id) }, 2 * capacity},
	} {
		for range 200 {
			l, id := New(Config{Default: Default{Limit: Limit{capacity, 1}}, IPv6Prefix: 64, MaxTracked: 100}), client(eachRange)
			l.grant(id, tt.before, t0)
			var wg sync.WaitGroup
			var given atomic.Int64
			for range workers {
				wg.Go(func() {
					given.Add(int64(l.takes("192.0.2.1", capacity/4, t0)))
				})
			}
			tt.change(l, id)
			wg.Wait()
			if n := given.Load(); n > tt.most {
				t.Fatalf("%s: %d tokens, want at most %d", tt.name, n, tt.most)
			}
			given.Add(int64(l.takes("192.0.2.1", 2*capacity, t0)))
			d := l.take(l.by("192.0.2.1", ""), t0)
			if d.Allowed || d.Remaining != 0 || d.RetryAfter > time.Second {
				t.Fatalf("%s: %+v, want a debt of exactly the capacity", tt.name, d)
			}
			if n := given.Load(); n < capacity || n > tt.most {
				t.Fatalf("%s: %d tokens in all, want %d to %d", tt.name, n, capacity, tt.most)
			}
		}
	}
}

// What an address takes while its bucket is given up is charged, too: to the range's own, or to the
// unregistered one. The capacities tell which bucket has decided.
func TestEachChargesTheLast(t *testing.T) {
	const capacity, workers = 20_000, 4
	rounds := 50
	if *long {
		rounds = 2000
	}
	for name, change := range map[string]func(*Limiter, ID){
		"off":     func(l *Limiter, id ID) { l.grant(id, Terms{Limit: Limit{capacity + 1, 1}}, t0) },
		"deleted": func(l *Limiter, id ID) { l.delete(id, t0) },
	} {
		for range rounds {
			l, id := New(Config{Default: Default{Limit: Limit{capacity + 1, 1}}, IPv6Prefix: 64, MaxTracked: 2000}), client("192.0.0.0/16")
			l.grant(id, Terms{Limit: Limit{capacity, 1}, Each: true}, t0)
			for i := range 1000 { // to give the change something to do
				l.take(l.Identify(netip.AddrFrom4([4]byte{192, 0, byte(i / 256), byte(i)}), nil), t0)
			}
			var wg sync.WaitGroup
			var each atomic.Int64
			for range workers {
				wg.Go(func() {
					for {
						d := l.take(l.by("192.0.2.1", ""), t0)
						if d.Capacity != capacity || !d.Allowed {
							return
						}
						each.Add(1)
					}
				})
			}
			for each.Load() == 0 {
				runtime.Gosched()
			}
			change(l, id)
			wg.Wait()
			if d := l.take(l.by("192.0.2.1", ""), t0); each.Load()+d.Remaining > capacity {
				t.Fatalf("%s: %d taken, and %d of %d left", name, each.Load(), d.Remaining, d.Capacity)
			}
		}
	}
}

// Whatever becomes of the range, all counts are right, the bound of places is kept, and nothing stays
// in flight.
func TestEachAtOnce(t *testing.T) {
	const workers = 4
	rounds := 300
	if *long {
		rounds = 20_000
	}
	cfg := DefaultConfig()
	cfg.Default.Limit = Limit{1_000_000, 1}
	cfg.MaxTracked = 64
	l, id := New(cfg), client("10.0.0.0/24")
	plans := []Terms{
		{Limit: Limit{1000, 1}, Each: true}, {Limit: Limit{1_000_000, 2}, Each: true, MaxInFlight: 2},
		{Limit: Limit{1_000_000, 1}}, {Limit: Limit{1_000_000, 1}, Each: true, MaxInFlight: 1, Shadow: true},
	}
	l.grant(id, plans[0], t0)
	var wg sync.WaitGroup
	var done atomic.Bool
	var asked atomic.Int64
	for w := range workers {
		wg.Go(func() {
			for n := w; !done.Load(); n++ {
				var d Decision
				l.admit(l.Identify(ipv4(n*7%100), nil), t0, &d).Release()
				asked.Add(1)
			}
		})
	}
	for n := 0; n < rounds || asked.Load() < 10_000; n++ {
		switch terms := plans[n%len(plans)]; {
		case n%50 == 49:
			l.delete(id, t0)
			l.grant(id, terms, t0)
		case n%50 == 25:
			l.Reset(id)
		default:
			l.grant(id, terms, t0)
		}
		// In flight has no upper bound here: the buckets are read one after the other, and a worker may
		// have gone on to the next of them meanwhile.
		if u, ok := l.usage(id, t0); !ok || u.InFlight < 0 || u.Allowed < 0 || l.Tracked() > cfg.MaxTracked {
			t.Errorf("%+v, %d tracked", u, l.Tracked())
		}
	}
	done.Store(true)
	wg.Wait()
	if u, _ := l.usage(id, t0); u.InFlight != 0 {
		t.Errorf("%+v, with nothing in flight", u)
	}
	l.grant(id, plans[0], t0)
	if u, _ := l.usage(id, t0); l.Tracked() != int(u.Addresses+l.anonymous.Load().held.Load()) {
		t.Errorf("%d tracked, %d in the range and %d unregistered", l.Tracked(), u.Addresses, l.anonymous.Load().held.Load())
	}
}

// Terms of a range with a bucket each change while its addresses ask: each address gets exactly the
// largest capacity at one moment.
func TestEachChangesAtOnce(t *testing.T) {
	const capacity = 2000
	l, id := newLimiter(), client("10.0.0.0/24")
	rates := []float64{0.01, 0.02, 0.05}
	l.grantEach("10.0.0.0/24", Limit{capacity, rates[0]}, t0)
	var wg sync.WaitGroup
	var done atomic.Bool
	var given [8]atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for n := w; n < 4*len(given)*capacity || !done.Load(); n++ {
				i := n % len(given)
				if l.take(l.Identify(ipv4(i), nil), t0).Allowed {
					given[i].Add(1)
				}
			}
		})
	}
	for n := range 300 {
		l.grantEach("10.0.0.0/24", Limit{capacity, rates[n%3]}, t0)
	}
	done.Store(true)
	wg.Wait()
	for i := range given {
		if n := given[i].Load(); n != capacity {
			t.Errorf("address %d got %d tokens, want %d", i, n, capacity)
		}
	}
	if u, _ := l.usage(id, t0); u.Allowed != int64(len(given)*capacity) || u.InFlight != 0 {
		t.Errorf("%+v", u)
	}
}
