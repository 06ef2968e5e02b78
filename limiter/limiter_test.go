package limiter

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// t0 is a moment at which all buckets are full.
const t0 = int64(time.Hour)

// newLimiter returns a limiter whose default limit is 10 tokens, one a second.
func newLimiter() *Limiter {
	cfg := DefaultConfig()
	cfg.Default.Limit = Limit{10, 1}
	cfg.MaxTracked = 10_000
	return New(cfg)
}

// take has a request of the client admitted and, if it was, ended.
func (l *Limiter) take(c Client, now int64) (d Decision) {
	l.admit(c, now, &d).Release()
	return d
}

// ask is take with a time.
func (l *Limiter) ask(c Client, now time.Time) (d Decision) {
	l.Admit(c, now, &d).Release()
	return d
}

// set is Set at a moment.
func (l *Limiter) set(r Registration, now int64) {
	l.registering.Lock()
	defer l.registering.Unlock()
	l.enrol(r, now)
}

// delete is Delete at a moment.
func (l *Limiter) delete(id ID, now int64) {
	l.registering.Lock()
	defer l.registering.Unlock()
	l.remove(canonical(id), now)
}

// register is set for an address or range without further terms.
func (l *Limiter) register(p netip.Prefix, limit Limit, now int64) {
	l.set(Registration{ID: ID{Prefix: p}, Terms: Terms{Limit: limit}}, now)
}

func (l *Limiter) registerNow(p netip.Prefix, limit Limit) {
	l.register(p, limit, l.since(time.Now()))
}

func (l *Limiter) forget(p netip.Prefix, now int64) { l.delete(ID{Prefix: p}, now) }

func (l *Limiter) takeAll(addr string, now int64) (allowed int, last Decision) {
	for {
		if last = l.take(l.Identify(netip.MustParseAddr(addr), nil), now); !last.Allowed {
			return allowed, last
		}
		allowed++
	}
}

func TestIdentify(t *testing.T) {
	l := newLimiter()
	for prefix, capacity := range map[string]int64{
		"192.0.2.1/32":         1,
		"192.0.2.0/24":         2,
		"192.0.0.0/16":         3,
		"2001:db8::1/128":      4,
		"2001:db8::/32":        5,
		"::ffff:10.0.0.5/128":  6,
		"::ffff:10.1.0.0/112":  7,
		"fe80::1%eth0/128":     8,
		"198.51.100.77/24":     9, // not masked
		"2001:db8:1:2:3::/128": 11,
	} {
		p, err := netip.ParsePrefix(prefix)
		if err != nil { // netip refuses zones in prefixes, but not in their parts
			p = netip.PrefixFrom(netip.MustParseAddr("fe80::1%eth0"), 128)
		}
		l.registerNow(p, Limit{capacity, 1})
	}
	if got := l.Registered(); got != 10 {
		t.Errorf("%d registered, want 10", got)
	}
	for addr, want := range map[string]int64{
		"192.0.2.1":          1,
		"::ffff:192.0.2.1":   1,
		"192.0.2.2":          2,
		"192.0.3.2":          3,
		"192.1.0.0":          10,
		"2001:db8::1":        4,
		"2001:db8::1%eth0":   4,
		"2001:db8::2":        5,
		"2001:db9::2":        10,
		"10.0.0.5":           6,
		"10.1.255.1":         7,
		"::ffff:10.1.255.1":  7,
		"10.2.0.0":           10,
		"fe80::1":            8,
		"fe80::1%eth1":       8,
		"198.51.100.1":       9,
		"2001:db8:1:2:3::":   11,
		"2001:db8:1:2:3::1":  5,
		"::1":                10,
		"255.255.255.255":    10,
		"::ffff:255.1.1.1%1": 10,
	} {
		if got := l.take(l.Identify(netip.MustParseAddr(addr), nil), t0).Capacity; got != want {
			t.Errorf("%s: capacity %d, want %d", addr, got, want)
		}
	}
}

func TestWhoSharesABucket(t *testing.T) {
	tests := []struct {
		name   string
		prefix int
		a, b   string
		shared bool
	}{
		{"IPv4 neighbours", 64, "192.0.2.1", "192.0.2.2", false},
		{"IPv4 and itself mapped to IPv6", 64, "192.0.2.1", "::ffff:192.0.2.1", true},
		{"IPv4 and itself mapped, short prefix", 1, "192.0.2.1", "::ffff:192.0.2.1", true},
		{"IPv4 neighbours, short prefix", 1, "192.0.2.1", "192.0.2.2", false},
		{"one /64", 64, "2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"two /64", 64, "2001:db8::1", "2001:db8:0:1::1", false},
		{"one /56", 56, "2001:db8::1", "2001:db8:0:ff::1", true},
		{"two /56", 56, "2001:db8::1", "2001:db8:0:100::1", false},
		{"two /128", 128, "2001:db8::1", "2001:db8::2", false},
		{"one /127", 127, "2001:db8::2", "2001:db8::3", true},
		{"zones", 64, "fe80::1%a", "fe80::1%b", true},
		{"IPv4 and itself behind a translator", 64, "192.0.2.1", "64:ff9b::192.0.2.1", true},
		{"two behind a translator", 64, "64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
		{"two behind a translator, short prefix", 1, "64:ff9b::c000:201", "64:ff9b::c000:202", false},
		{"beside the translator's prefix", 64, "64:ff9b::1:c000:201", "64:ff9b::2:c000:201", true},
		{"beside the translator's prefix, and IPv4", 128, "64:ff9b::1:c000:201", "192.0.2.1", false},
		{"prefix of local translators", 64, "64:ff9b:1::192.0.2.1", "192.0.2.1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.IPv6Prefix = tt.prefix
			l := New(cfg)
			l.takeAll(tt.a, t0)
			if n, _ := l.takeAll(tt.b, t0); (n == 0) != tt.shared {
				t.Errorf("%d tokens left, shared should be %v", n, tt.shared)
			}
		})
	}
}

func TestRangeIsOneClient(t *testing.T) {
	l := newLimiter()
	l.registerNow(netip.MustParsePrefix("192.0.2.0/24"), Limit{5, 1})
	n, _ := l.takeAll("192.0.2.1", t0)
	m, _ := l.takeAll("192.0.2.2", t0)
	if n != 5 || m != 0 {
		t.Errorf("%d and %d tokens for two addresses of a range, want 5 and 0", n, m)
	}
}

func TestSetChangesTheRunningBucket(t *testing.T) {
	for _, prefix := range []string{"192.0.2.1/32", "192.0.2.0/24"} {
		t.Run(prefix, func(t *testing.T) {
			l, p := newLimiter(), netip.MustParsePrefix(prefix)
			l.register(p, Limit{5, 1}, t0)
			client := l.Identify(netip.MustParseAddr("192.0.2.1"), nil)
			if n, _ := l.takeAll("192.0.2.1", t0); n != 5 {
				t.Fatalf("%d tokens in a new bucket, want 5", n)
			}
			l.register(p, Limit{8, 2}, t0)
			// A client identified before must see the new limit too.
			if d := l.take(client, t0); !d.Allowed || d.Capacity != 8 || d.Remaining != 2 {
				t.Errorf("after widening: %+v", d)
			}
			if n, d := l.takeAll("192.0.2.1", t0); n != 2 || d.RetryAfter != 500*time.Millisecond {
				t.Errorf("%d tokens after widening by 3 and taking one, then %+v", n, d)
			}
			l.register(p, Limit{1, 0.1}, t0)
			if n, d := l.takeAll("192.0.2.1", t0); n != 0 || d.RetryAfter != 10*time.Second {
				t.Errorf("%d tokens after narrowing, then %+v", n, d)
			}
			for range 1000 {
				l.register(p, Limit{8, 2}, t0)
				l.register(p, Limit{1, 0.1}, t0)
			}
			l.register(p, Limit{8, 2}, t0)
			if n, _ := l.takeAll("192.0.2.1", t0); n != 0 {
				t.Errorf("%d tokens from a thousand changes", n)
			}
			if l.Registered() != 1 {
				t.Errorf("%d registered, want 1", l.Registered())
			}
		})
	}
}

// A bucket closed by Set leads on before the new one is published: Take need not wait for Set.
func TestTakeDoesNotWaitForSet(t *testing.T) {
	l, p := newLimiter(), netip.MustParsePrefix("192.0.2.1/32")
	l.register(p, Limit{5, 1}, t0)
	client := l.Identify(p.Addr(), nil)
	next := newBucket(make(plans).use(Terms{Limit: Limit{7, 1}}, nil), client.bucket.account)
	client.bucket.replace(next, t0)
	if client.bucket.next.Load() != next {
		t.Fatal("the closed bucket leads nowhere")
	}
	if d := l.take(client, t0); d.Capacity != 7 {
		t.Errorf("%+v, want the new limit", d)
	}
}

func TestDelete(t *testing.T) {
	l, p := newLimiter(), netip.MustParsePrefix("192.0.2.1/32")
	l.forget(p, t0) // not registered
	l.register(p, Limit{100, 1000}, t0)
	client := l.Identify(p.Addr(), nil)
	for range 4 {
		l.take(client, t0)
	}
	l.forget(p, t0)
	if l.Registered() != 0 {
		t.Errorf("%d registered, want 0", l.Registered())
	}
	if d := l.take(client, t0); d.Capacity != 10 || d.Remaining != 5 {
		t.Errorf("a client identified before: %+v, want the default limit less 4 tokens and this one", d)
	}
	if n, _ := l.takeAll("192.0.2.1", t0); n != 5 {
		t.Errorf("%d tokens after deletion, want the rest of the default limit, 5", n)
	}

	l.register(p, Limit{1000, 1000}, t0)
	l.takeAll("192.0.2.1", t0)
	l.forget(p, t0)
	if n, d := l.takeAll("192.0.2.1", t0); n != 0 || d.RetryAfter != time.Second {
		t.Errorf("%d tokens, then %+v; want the empty bucket of the default limit", n, d)
	}
}

func TestDeleteRange(t *testing.T) {
	l, p := newLimiter(), netip.MustParsePrefix("2001:db8::/48")
	l.register(netip.MustParsePrefix("2001:db8::/32"), Limit{3, 1}, t0)
	l.register(p, Limit{100, 1}, t0)
	client := l.Identify(netip.MustParseAddr("2001:db8::1"), nil)
	l.forget(p, t0)
	if d := l.take(client, t0); d.Capacity != 3 {
		t.Errorf("%+v, want the limit of the wider range", d)
	}
	if l.Registered() != 1 {
		t.Errorf("%d registered, want 1", l.Registered())
	}
}

func TestTakeUsesTheClock(t *testing.T) {
	l := newLimiter()
	c, now := l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()
	for range 10 {
		l.ask(c, now)
	}
	if d := l.ask(c, now); d.Allowed || d.RetryAfter != time.Second {
		t.Errorf("the 11th: %+v", d)
	}
	if d := l.ask(c, now.Add(time.Second)); !d.Allowed {
		t.Errorf("a second later: %+v", d)
	}
	if d := l.ask(Client{}, now.Add(-time.Hour)); !d.Allowed { // no address, and before the start
		t.Errorf("no address: %+v", d)
	}
}

// Eight goroutines take while the limit is changed as fast as it can be, and at times deleted.
func TestSetAndTakeAtOnce(t *testing.T) {
	l := newLimiter()
	p := netip.MustParsePrefix("192.0.2.1/32")
	plans := []Limit{{100, 10}, {200, 0.01}, {7, 1e6}, {50, 3}}
	l.register(p, plans[0], t0)
	var wg sync.WaitGroup
	var done atomic.Bool
	var allowed atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := 0; i < 2000 || !done.Load(); i++ {
				if l.take(l.Identify(p.Addr(), nil), t0).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	for i := range 4000 {
		l.register(p, plans[i%len(plans)], t0)
	}
	l.register(p, plans[1], t0)
	done.Store(true)
	wg.Wait()
	n, _ := l.takeAll("192.0.2.1", t0)
	if got := int(allowed.Load()) + n; got != 200 {
		t.Errorf("%d tokens in all, want the largest capacity, 200", got)
	}
}

// A deletion amid requests hands out no token that neither limit has: what the old bucket gave is
// charged to the new one, and what is given meanwhile comes on top of that.
func TestDeleteAndTakeAtOnce(t *testing.T) {
	for range 200 {
		l := newLimiter() // 10 tokens
		p := netip.MustParsePrefix("192.0.2.1/32")
		l.register(p, Limit{20, 1}, t0)
		var wg sync.WaitGroup
		var allowed atomic.Int64
		for range 8 {
			wg.Go(func() {
				for range 5 {
					if l.take(l.Identify(p.Addr(), nil), t0).Allowed {
						allowed.Add(1)
					}
				}
			})
		}
		l.forget(p, t0)
		wg.Wait()
		if got := allowed.Load(); got > 30 {
			t.Fatalf("%d tokens, want at most those of both limits, 30", got)
		}
		l.takeAll("192.0.2.1", t0)
		if d := l.take(l.Identify(p.Addr(), nil), t0); d.RetryAfter != time.Second {
			t.Fatalf("%+v, want a debt of exactly the default capacity", d)
		}
	}
}
