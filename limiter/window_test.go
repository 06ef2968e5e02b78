package limiter

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// billion is the number of parts of a token in which these tests count: with whole tokens per
// second and whole nanoseconds, nothing is rounded.
const billion = int64(time.Second)

// burst returns by how much the requests admitted at these times, in nanoseconds, outrun the refill
// in the worst of all windows, in billionths of a token. The limit is kept if that is not above the
// capacity.
//
// A window that begins at times[i] and ends at times[j] has seen j-i+1 requests and
// rate·(times[j]-times[i]) of refill. Which i is worst for a j does not depend on the j, so one
// pass finds the worst of all windows.
func burst(times []int64, rate int64) (worst int64) {
	slices.Sort(times)
	var start int64 // the least of i - rate·times[i] so far
	for i, at := range times {
		ahead := int64(i)*billion - rate*(at-times[0])
		start = min(start, ahead)
		worst = max(worst, ahead+billion-start)
	}
	return worst
}

// keeps fails the test if the requests admitted at these times break the limit in any window. What
// the limiter allows itself, a quarter of a nanosecond, is all that it gets.
func (l Limit) keeps(t testing.TB, times []int64) {
	t.Helper()
	rate := int64(l.RatePerSecond)
	if got, most := burst(times, rate), l.Capacity*billion+rate/4; got > most {
		t.Errorf("a window with %.9f tokens more than its refill, want at most %d", float64(got)/1e9, l.Capacity)
	}
}

func TestBurstIsThatOfTheWorstWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, 10e9), 0, 20).Draw(t, "times")
		rate := rapid.Int64Range(1, 5).Draw(t, "rate")
		var want int64
		for _, from := range times {
			for _, to := range times {
				var n int64
				for _, at := range times {
					if from <= at && at <= to {
						n++
					}
				}
				if n > 0 {
					want = max(want, n*billion-rate*(to-from))
				}
			}
		}
		if got := burst(times, rate); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	})
}

// TestEveryWindow has eight goroutines, each with the real clock, ask for more than a client may
// have. No window of the whole run sees more than the capacity and its refill, and nothing is lost
// between them: the capacity is what one second refills, hence a pause of the machine costs
// nothing.
func TestEveryWindow(t *testing.T) {
	limit := Limit{50_000, 50_000}
	neighbours := func(i uint32) netip.Addr { return ipv4(int(i % 5000)) }
	for _, test := range []struct {
		name       string
		registered string
		maxTracked int
		crowd      func(random uint32) netip.Addr // the client of every other request
	}{
		{"registered address", "192.0.2.1/32", 1000, nil},
		{"registered range", "192.0.2.0/24", 1000, nil},
		{"unregistered address", "198.51.100.0/24", 1000, nil},
		{"unregistered address amid evictions", "198.51.100.0/24", clientsPerGroup, neighbours},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Default.Limit, cfg.MaxTracked = limit, test.maxTracked
			l := New(cfg)
			l.registerNow(netip.MustParsePrefix(test.registered), limit)
			times, end := overload(l, netip.MustParseAddr("192.0.2.1"), test.crowd)
			limit.keeps(t, times)
			took := end - time.Duration(slices.Min(times))
			entitled := float64(limit.Capacity) + limit.RatePerSecond*took.Seconds()
			got := float64(len(times))
			t.Logf("%d of %.1f tokens in %v: %.4f %%; worst window %.6f tokens above its refill, capacity %d",
				len(times), entitled, took, 100*got/entitled, float64(burst(times, int64(limit.RatePerSecond)))/1e9, limit.Capacity)
			if got < 0.9999*entitled {
				t.Errorf("%v tokens, want 99.99 %% of %v", got, entitled)
			}
		})
	}
}

// overload takes tokens of the client from eight goroutines for a while, and then until the bucket
// is empty. It returns when each of those it got was asked for, in nanoseconds since the start, and
// when the last was refused.
func overload(l *Limiter, client netip.Addr, crowd func(random uint32) netip.Addr) (times []int64, end time.Duration) {
	const workers = 8
	run := 400 * time.Millisecond
	if *long {
		run = 20 * time.Second
	}
	start := time.Now()
	// A full bucket gains nothing: while the goroutines start, a busy machine could let it be full again.
	for l.ask(l.Identify(client, nil), start).Allowed {
		times = append(times, 0)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			var mine []int64
			var last time.Duration
			for d := (Decision{Allowed: true}); d.Allowed || last < run; {
				now := time.Now()
				last = now.Sub(start)
				if d = l.ask(l.Identify(client, nil), now); d.Allowed {
					mine = append(mine, int64(last))
				}
				if crowd != nil {
					l.ask(l.Identify(crowd(rand.Uint32()), nil), now)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, mine...)
			end = max(end, last)
		})
	}
	all.Wait()
	return times, end
}
