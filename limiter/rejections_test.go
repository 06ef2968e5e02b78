package limiter

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"testing"
)

func TestLimited(t *testing.T) {
	l := newLimiter() // 10 tokens, one a second
	l.grant(client("192.0.2.1"), Terms{Limit: Limit{1, 0.001}}, t0)
	l.grant(client("198.51.100.0/24"), Terms{Limit: Limit{1, 0.001}, Shadow: true}, t0)
	l.grant(ID{Name: "acme"}, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0)
	ask := func(addr, key string, n int, now int64) {
		for range n {
			l.take(l.by(addr, key), now)
		}
	}
	if got := l.limited(100, t0); len(got) != 0 {
		t.Errorf("%+v before any client was limited", got)
	}
	ask("192.0.2.1", "", 31, t0)
	ask("198.51.100.1", "", 11, t0)
	ask("198.51.100.2", "", 10, t0)
	ask("203.0.113.9", "", 25, t0+20e9)
	ask("2001:db8::1", "", 15, t0+20e9)
	ask("2001:db8::2", "", 4, t0+20e9)
	ask("2001:db8:1::1", "", 10, t0+20e9) // all allowed
	var d Decision
	l.admit(l.by("203.0.113.1", "the key of acme"), t0+20e9, &d)
	ask("203.0.113.1", "the key of acme", 3, t0+20e9)
	for range 16 {
		l.take(l.Identify(netip.Addr{}, nil), t0+20e9)
	}
	want := []Limited{
		{"192.0.2.1", true, false, 30, Limit{1, 0.001}},
		{"198.51.100.0/24", true, true, 20, Limit{1, 0.001}},
		{"203.0.113.9", false, false, 15, Limit{10, 1}},
		{"2001:db8::/64", false, false, 9, Limit{10, 1}},
		{"unknown", false, false, 6, Limit{10, 1}},
		{"acme", true, false, 3, Limit{100, 1}},
	}
	if got := l.limited(100, t0+54e9); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := l.limited(2, t0+54e9); !reflect.DeepEqual(got, want[:2]) {
		t.Errorf("of two: %+v, want %+v", got, want[:2])
	}
	l.delete(ID{Name: "acme"}, t0+20e9)
	l.grant(ID{Name: "acme"}, Terms{Limit: Limit{100, 1}, MaxInFlight: 1}, t0+20e9)
	ask("203.0.113.1", "the key of acme", 1, t0+20e9) // the one before is still in flight
	want[5].Rejections = 4
	if got := l.limited(100, t0+54e9); !reflect.DeepEqual(got, want) {
		t.Errorf("registered anew: %+v, want %+v", got, want)
	}
	l.delete(client("192.0.2.1"), t0)
	want[0].Registered, want[0].Limit = false, Limit{10, 1}
	if got := l.limited(1, t0+54e9); !reflect.DeepEqual(got, want[:1]) {
		t.Errorf("deleted meanwhile: %+v, want %+v", got, want[:1])
	}
	if got := l.limited(100, t0+65e9); !reflect.DeepEqual(got, want[2:]) {
		t.Errorf("a minute after the first: %+v, want %+v", got, want[2:])
	}
	if got := l.limited(100, t0+85e9); len(got) != 0 {
		t.Errorf("a minute after the last: %+v, want none", got)
	}
}

// A client that is registered after requests were rejected is one client, with the limit that it has now.
func TestLimitedIsRegisteredSince(t *testing.T) {
	l := newLimiter()
	for range 12 {
		l.take(l.by("192.0.2.1", ""), t0)
		l.take(l.by("2001:db8::1", ""), t0)
	}
	for _, c := range []string{"192.0.2.1", "2001:db8::/64"} {
		l.grant(client(c), Terms{Limit: Limit{10, 2}, Shadow: true}, t0)
	}
	l.take(l.by("192.0.2.1", ""), t0)
	want := []Limited{{"192.0.2.1", true, true, 3, Limit{10, 2}}, {"2001:db8::/64", true, true, 2, Limit{10, 2}}}
	if got := l.limited(9, t0); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A client without an address is distinct from the loopback address of IPv6, whose network is that
// of the address with nothing but zeros.
func TestLimitedWithoutAddress(t *testing.T) {
	l := newLimiter()
	for range 13 {
		l.take(l.by("::1", ""), t0)
	}
	for range 11 {
		l.take(l.Identify(netip.Addr{}, nil), t0)
	}
	want := []Limited{{Client: "::/64", Rejections: 3, Limit: Limit{10, 1}}, {Client: "unknown", Rejections: 1, Limit: Limit{10, 1}}}
	if got := l.limited(100, t0); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Among a hundred thousand addresses that are rejected once or twice, those that are rejected much
// stand out, though they come last to a structure that is full.
func TestLimitedFindsTheMostRejected(t *testing.T) {
	const heavy, crowd, rounds = 100, 100_000, 400
	l := newLimiter()
	at := func(round int) int64 { return t0 + int64(round)*100e6 } // 40 s in all
	reject := func(i, round int) {
		a := addressOf(ipv4(i))
		l.rejected.add(key(l.secret.hash(a)), a, nil, at(round))
	}
	for round := range rounds {
		for range crowd / rounds {
			reject(heavy+rand.IntN(crowd), round)
		}
		for i := range heavy {
			reject(i, round)
		}
	}
	found := 0
	for _, c := range l.limited(heavy, at(rounds)) {
		var i int
		if addr := netip.MustParseAddr(c.Client).As4(); addr[1] == 0 && addr[2] == 0 {
			i = int(addr[3])
		} else {
			continue
		}
		if i >= heavy {
			continue
		}
		found++
		if c.Rejections > rounds || c.Rejections < rounds*9/10 {
			t.Errorf("%s: %d rejections, want between nine tenths of %d and all", c.Client, c.Rejections, rounds)
		}
	}
	if found < heavy*95/100 {
		t.Errorf("%d of the %d most rejected are told", found, heavy)
	}
}

// No count is ever larger than the number of rejections.
func TestLimitedAtOnce(t *testing.T) {
	const workers, clients, each = 8, 5000, 4
	l := newLimiter()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range clients * each {
				a := addressOf(ipv4(i % clients))
				l.rejected.add(key(l.secret.hash(a)), a, nil, t0)
				if i%5000 == 0 {
					l.limited(100, t0)
				}
			}
		})
	}
	wg.Wait()
	all := l.limited(clients, t0)
	if len(all) < rejectionSets*rejectionSlots/2 {
		t.Errorf("%d clients are held, of %d places", len(all), rejectionSets*rejectionSlots)
	}
	for _, c := range all {
		if c.Rejections > workers*each+workers { // a request about to count when a slot changes hands counts for the next client
			t.Fatalf("%s: %d rejections, of %d", c.Client, c.Rejections, workers*each)
		}
	}
}
