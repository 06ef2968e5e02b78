package limiter

import (
	"net/netip"
	"testing"
	"time"
)

func TestRequestsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, most := range []int64{0, 5} {
		requestsAllocateNothing(t, most)
	}
}

// requestsAllocateNothing, with this bound of an unregistered client's requests in flight.
func requestsAllocateNothing(t *testing.T, most int64) {
	cfg := DefaultConfig()
	cfg.Default.MaxInFlight = most
	cfg.Headers = "both"
	l := New(cfg)
	l.registerNow(netip.MustParsePrefix("192.0.2.1/32"), Limit{Capacity: 10, RatePerSecond: 1})
	l.registerNow(netip.MustParsePrefix("198.51.100.0/24"), Limit{Capacity: 10, RatePerSecond: 1})
	terms := Terms{Limit: Limit{10, 1}, MaxInFlight: 5, Trial: Limit{5, 1}}
	l.grant(ID{Name: "acme"}, terms, full)
	l.grant(client("192.0.2.4"), Terms{Limit: Limit{10, 1}, Blocked: true}, full)
	l.grant(client("192.0.1.0/24"), Terms{Limit: Limit{10, 1}, Each: true, MaxInFlight: 5}, full)
	l.set(Registration{ID{Name: "several"}, digests("1", "2", "3", "4"), terms}, full)
	terms.Shadow = true
	l.grant(client("192.0.2.2"), terms, full)
	l.grant(client("192.0.2.3"), terms, full)
	l.delete(client("192.0.2.3"), full)
	buf := make([]byte, 0, 256)
	for _, who := range []struct{ addr, key, name string }{
		{"192.0.2.1", "", "192.0.2.1"}, {"192.0.2.2", "", "192.0.2.2"}, {"192.0.2.3", "", ""}, {"198.51.100.7", "", "198.51.100.0/24"},
		{"203.0.113.9", "", ""}, {"2001:db8::1%eth0", "", ""}, {"::ffff:192.0.2.1", "", "192.0.2.1"},
		{"203.0.113.9", "the key of acme", "acme"}, {"192.0.2.4", "", "192.0.2.4"}, {"203.0.113.9", "4", "several"}, {"192.0.1.7", "", "192.0.1.0/24"}, {"203.0.113.9", "the key of nobody", ""},
	} {
		addr, key, now := netip.MustParseAddr(who.addr), []byte(who.key), time.Now()
		n := testing.AllocsPerRun(1000, func() { // 10 tokens, and the rest is rejected
			buf = cfg.Fields().Append(buf[:0], l.ask(l.Identify(addr, key), now))
		})
		if n != 0 {
			t.Errorf("%s with key %q: %v allocations per request, want 0", who.addr, who.key, n)
		}
		n = testing.AllocsPerRun(1000, func() { buf = l.Identify(addr, key).AppendName(buf[:0]) })
		if want := who.name; n != 0 || string(buf) != want {
			t.Errorf("%s with key %q: %v allocations for the name %q, want 0 for %q", who.addr, who.key, n, buf, want)
		}
		var d Decision
		n = testing.AllocsPerRun(1000, func() {
			l.AdmitExempt(l.Identify(addr, key), now, &d).Release()
		})
		if n != 0 {
			t.Errorf("%s with key %q: %v allocations per exempt request, want 0", who.addr, who.key, n)
		}
	}
}

// TestSharedRequestsAllocateNothing is for clients away from their limit, by their name, in a range with
// Terms.Each, and unregistered on both sides of half a bucket.
func TestSharedRequestsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	limit := Limit{1_000_000, 1}
	l := New(Config{Default: Default{Limit: limit}, IPv6Prefix: 64, MaxTracked: 1000})
	s := l.Share(10 * time.Second)
	s.Return(Fleet{Instances: 2, From: time.Now(), Until: time.Now().Add(time.Hour)})
	l.grant(ID{Name: "acme"}, Terms{Limit: limit}, full)
	l.grant(client("192.0.1.0/24"), Terms{Limit: limit, Each: true}, full)
	spent := func(addr string, tokens int) {
		for range tokens {
			l.ask(l.Identify(netip.MustParseAddr(addr), nil), time.Now())
		}
	}
	ended, served := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		newCenter(0).serve(s, ended)
	}()
	spent("203.0.113.8", 501_000)
	spent("192.0.1.8", 501_000)
	spent("192.0.1.7", 1)
	close(ended)
	<-served
	for _, who := range []struct{ addr, key string }{
		{"203.0.113.9", "the key of acme"}, {"203.0.113.8", ""}, {"192.0.1.8", ""}, {"203.0.113.7", ""}, {"192.0.1.7", ""},
	} {
		addr, key, now := netip.MustParseAddr(who.addr), []byte(who.key), time.Now()
		before := s.Counters()
		n := testing.AllocsPerRun(1000, func() {
			if !l.ask(l.Identify(addr, key), now).Allowed {
				t.Fatal("a request was rejected")
			}
		})
		if n != 0 || s.Counters() != before {
			t.Errorf("%s with key %q: %v allocations per request, want 0; %v", who.addr, who.key, n, s.Counters())
		}
	}
	if n := s.tallies.Size(); n != 3 {
		t.Errorf("%d clients have something to tell, want 3", n)
	}
}
