package limiter

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
	"unsafe"
)

// TestAggressiveEvictionDecidesAlike plays one trace of many addresses to a limiter with 16 places,
// which drops clients all the time, and to buckets that are never dropped. As long as no more than
// 16 are in debt at once, all answers are the same.
func TestAggressiveEvictionDecidesAlike(t *testing.T) {
	const addresses, most = 20_000, 16
	requests := 200_000
	if *long {
		requests = 5_000_000
	}
	cfg := DefaultConfig()
	cfg.Default.Limit = Limit{3, 1000} // a debt lasts 3 ms at most
	cfg.MaxTracked = most
	l := New(cfg)
	kept := make(map[netip.Addr]int64)
	random := rand.New(rand.NewPCG(3, 4))
	now, refused := t0, 0
	var recent []netip.Addr
	for i := range requests {
		// Three times as many requests as one client may have, by four of the last to come. A
		// client leaves these four for good at some point, and is in debt for 3 ms more.
		if len(recent) < 4 || random.IntN(10) == 0 {
			recent = append(recent, ipv4(random.IntN(addresses)))
			recent = recent[max(0, len(recent)-4):]
		}
		now += random.Int64N(160_000)
		if random.IntN(100) == 0 {
			now += 10e6 // all buckets are full again
		}
		addr := recent[random.IntN(len(recent))]
		o := take(kept[addr], now, &l.anonymous.Load().rates)
		kept[addr] = o.tat
		want := l.anonymous.Load().rates.decision(o)
		if !o.allowed {
			want.Exceeded = Rate
			refused++
		}
		if got := l.take(l.Identify(addr, nil), now); got != want {
			t.Fatalf("request %d, of %s: %+v, want %+v", i, addr, got, want)
		}
	}
	t.Logf("%d requests of %d clients, %d refused; %d places taken", requests, len(kept), refused, l.Tracked())
	if l.Tracked() > most || len(kept) < addresses/2 || refused < requests/20 {
		t.Errorf("%d of %d clients tracked, %d requests refused: no trace to tell the two apart", l.Tracked(), len(kept), refused)
	}
}

// crowd is a number of clients that come one after the other, and each again after the period.
type crowd struct {
	network        [3]byte
	clients, next  int
	period, due    int64 // nanoseconds
	asked, refused int
}

// come sends the requests that are due by now.
func (c *crowd) come(l *Limiter, now int64) {
	for ; c.due <= now; c.due += c.period / int64(c.clients) {
		addr := netip.AddrFrom4([4]byte{c.network[0], c.network[1], c.network[2], byte(c.next)})
		if !l.take(l.Identify(addr, nil), now).Allowed {
			c.refused++
		}
		c.asked++
		c.next = (c.next + 1) % c.clients
	}
}

// TestAddressFlood sends a request each from ten times as many addresses as there are places.
// Whatever comes, memory is bounded, a client that has used up its limit is not forgotten, and
// neither is one that keeps within it but always owes something. Those that come, repay and are
// forgotten get a place again as long as one is not in debt.
func TestAddressFlood(t *testing.T) {
	places := 20_000
	switch {
	case *long:
		places = 1_000_000
	case raceEnabled:
		places = 2000
	}
	for _, test := range []struct {
		name    string
		debtors int // addresses of the flood that are in debt at once, if each gets its token
		shared  bool
	}{
		{"half of the places in debt", places / 2, false},
		{"nine tenths of the places in debt", places / 10 * 9, false},
		{"twice as many in debt as places", places * 2, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFlood(places)
			refused := f.run(test.debtors)
			f.judge(t)
			t.Logf("%d of the flood refused, %d requests decided by shared buckets", refused, f.l.Overflowed())
			if test.shared && f.l.Overflowed() < int64(refused)/2 {
				t.Errorf("%d requests are counted as decided by shared buckets, though %d were refused by them or by what they led to", f.l.Overflowed(), refused)
			}
			if !test.shared && f.guests.refused+refused > 0 {
				t.Errorf("%d of %d guests refused, and %d of the flood, with places not in debt", f.guests.refused, f.guests.asked, refused)
			}
		})
	}
}

// flood is the clients of TestAddressFlood.
type flood struct {
	l              *Limiter
	limit          Limit
	places         int
	steady, guests crowd
	hot            []int64 // when the hot client got its tokens
	asked          int64   // when it last asked
	base           int64   // bytes on the heap before, and of what is as large with any number of clients
	each           float64 // bytes for each tracked client, at most
	took           time.Duration
}

func newFlood(places int) *flood {
	f := &flood{base: heapBytes() + int64(unsafe.Sizeof(rejections{})), places: places, limit: Limit{10, 1}}
	cfg := DefaultConfig()
	cfg.Default.Limit, cfg.MaxTracked = f.limit, places
	f.l = New(cfg)
	f.steady = crowd{network: [3]byte{198, 51, 100}, clients: 20, period: 999e6, due: t0}
	f.guests = crowd{network: [3]byte{203, 0, 113}, clients: 40, period: 2e9, due: t0}
	return f
}

// run returns how many addresses of the flood were refused.
func (f *flood) run(debtors int) (refused int) {
	hot := netip.MustParseAddr("192.0.2.1")
	first := t0 + f.steady.period
	f.steady.come(f.l, first)
	start := time.Now()
	for i := range 10 * f.places {
		now := first + int64(i)*int64(time.Second)/int64(debtors)
		if !f.l.take(f.l.Identify(ipv4(i), nil), now).Allowed {
			refused++
		}
		if i%100 == 0 {
			if f.asked = now; f.l.take(f.l.Identify(hot, nil), now).Allowed {
				f.hot = append(f.hot, now)
			}
		}
		f.steady.come(f.l, now)
		f.guests.come(f.l, now)
		if i%f.places == f.places-1 {
			f.each = max(f.each, float64(heapBytes()-f.base)/float64(f.l.Tracked()))
		}
	}
	f.took = time.Since(start)
	return refused
}

func (f *flood) judge(t *testing.T) {
	t.Helper()
	t.Logf("%d addresses, %d places, %d taken: at most %.1f bytes each, %d ns a request", 10*f.places, f.places, f.l.Tracked(), f.each, f.took.Nanoseconds()/int64(10*f.places))
	t.Logf("hot: %d tokens in %.1f s; refused: %d of %d steady, %d of %d guests", len(f.hot),
		float64(f.asked-f.hot[0])/1e9, f.steady.refused, f.steady.asked, f.guests.refused, f.guests.asked)
	if f.each > 32 && !raceEnabled || f.l.Tracked() > f.places {
		t.Errorf("%.1f bytes each for %d clients, want at most 32 for %d", f.each, f.l.Tracked(), f.places)
	}
	f.limit.keeps(t, f.hot)
	if want := f.limit.Capacity + (f.asked-f.hot[0])/1e9; int64(len(f.hot)) < want {
		t.Errorf("%d tokens for the hot client, want %d", len(f.hot), want)
	}
	if f.steady.refused > 0 {
		t.Errorf("%d of %d requests refused to clients in debt that keep within their limit", f.steady.refused, f.steady.asked)
	}
}
