package limiter

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/time/rate"
)

// disordered returns so many moments, one every interval, in the order in which requests arrive
// that have read the clock and were then held up for as much as delay.
func disordered(random *rand.Rand, n int, interval, delay time.Duration) []time.Duration {
	type request struct{ read, arrived time.Duration }
	requests := make([]request, n)
	for i := range requests {
		read := time.Duration(i) * interval
		requests[i] = request{read, read + time.Duration(random.Int64N(int64(delay)))}
	}
	slices.SortFunc(requests, func(a, b request) int { return int(a.arrived - b.arrived) })
	times := make([]time.Duration, n)
	for i, r := range requests {
		times[i] = r.read
	}
	return times
}

// TestDisorderedClock replays golang/go#71360: requests read the clock, wait for a lock, and ask
// with times that go back and forth. golang.org/x/time/rate takes each earlier time for its new
// start and refills the same moments many times over. That is asserted too: else the trace would
// prove nothing.
func TestDisorderedClock(t *testing.T) {
	const capacity, perSecond, requests, interval = 10, 10_000, 300_000, 10 * time.Microsecond // 3 s in all
	entitled := float64(capacity) + perSecond*(requests*interval).Seconds()
	addr := netip.MustParseAddr("192.0.2.1")
	for _, delay := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond} {
		cfg := DefaultConfig()
		cfg.Default.Limit = Limit{capacity, perSecond}
		l, start := New(cfg), time.Now()
		control, granted := rate.NewLimiter(perSecond, capacity), 0
		var times []int64
		for _, at := range disordered(rand.New(rand.NewPCG(1, uint64(delay))), requests, interval, delay) {
			now := start.Add(at)
			if control.AllowN(now, 1) {
				granted++
			}
			if l.ask(l.Identify(addr, nil), now).Allowed {
				times = append(times, int64(at))
			}
		}
		t.Logf("disorder of %v: %d tokens of %v, worst window %.6f above its refill; x/time/rate: %d",
			delay, len(times), entitled, float64(burst(times, perSecond))/1e9, granted)
		cfg.Default.keeps(t, times)
		if got := float64(len(times)); got > entitled || got < 0.999*entitled {
			t.Errorf("disorder of %v: %v tokens, want %v at most and hardly less", delay, got, entitled)
		}
		if tooMany := float64(granted) - entitled; tooMany < 1000 {
			t.Errorf("disorder of %v: the control grants %v tokens too many, so this trace is none that misleads", delay, tooMany)
		}
	}
}

// stepped returns t as time.Now would have, had the wall clock been set forward by so many seconds:
// the monotonic reading is the same. Nothing exported can do that; time.Time has said since Go 1.9
// that the seconds stand above the lowest 30 bits of its first word.
func stepped(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}

func TestStepped(t *testing.T) {
	now := time.Now()
	for _, seconds := range []int64{3600, -3600} {
		got := stepped(now, seconds)
		if wall := got.Round(0).Sub(now.Round(0)); wall != time.Duration(seconds)*time.Second || got.Sub(now) != 0 {
			t.Fatalf("the wall clock moved by %v and the monotonic by %v, want %d s and 0", wall, got.Sub(now), seconds)
		}
	}
}

// TestWallClockSteps sets the wall clock an hour forward and back all the time. No client gains or
// loses a token.
func TestWallClockSteps(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Default.Limit = Limit{5, 100}
	steady, shaken := New(cfg), New(cfg)
	shaken.base = steady.base
	for _, l := range []*Limiter{steady, shaken} {
		l.registerNow(netip.MustParsePrefix("192.0.2.1/32"), Limit{20, 1000})
	}
	random := rand.New(rand.NewPCG(1, 2))
	now, allowed := time.Now(), 0
	const requests = 100_000
	for i := range requests {
		now = now.Add(time.Duration(random.Int64N(2e6)))
		addr := [...]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}[random.IntN(2)]
		want := steady.ask(steady.Identify(addr, nil), now)
		got := shaken.ask(shaken.Identify(addr, nil), stepped(now, 3600*random.Int64N(3)-3600))
		if got != want {
			t.Fatalf("request %d: %+v, want %+v", i, got, want)
		}
		if got.Allowed {
			allowed++
		}
	}
	t.Logf("%d requests, %d allowed, with the wall clock steady or not", requests, allowed)
	if allowed < requests/10 || allowed > requests*9/10 {
		t.Errorf("%d of %d allowed: the trace hardly tries the limits", allowed, requests)
	}
}

// TestWithoutMonotonicReading shows what Take says of times that have lost theirs, as after a round
// trip through text: they serve as long as the wall clock is steady. A step forward fills the
// bucket, as that hour would have; a step back gives nothing, and takes until the clock is back
// where it was.
func TestWithoutMonotonicReading(t *testing.T) {
	l, p := New(DefaultConfig()), netip.MustParsePrefix("192.0.2.1/32")
	l.registerNow(p, Limit{10, 1})
	start := time.Now()
	for _, test := range []struct {
		at   time.Duration
		want int
	}{
		{0, 10},
		{3 * time.Second, 3},
		{time.Hour, 10},
		{4 * time.Second, 0}, // the step undone
		{time.Hour - time.Second, 0},
		{time.Hour + 2*time.Second, 2},
	} {
		text, err := start.Add(test.at).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var now time.Time
		if err := now.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		got := 0
		for l.ask(l.Identify(p.Addr(), nil), now).Allowed {
			got++
		}
		if got != test.want {
			t.Errorf("%d tokens after %v, want %d", got, test.at, test.want)
		}
	}
}
