package main

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sethvargo "github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	ulule "github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	uber "go.uber.org/ratelimit"

	"loadbalancer/limiter"
)

// The tests of this module assert what other limiters get wrong, most of them beside this limiter,
// which must not. If one fails after an update, the other limiter has been mended, and its line in
// docs/results.md goes.

// granted returns how many of so many requests are let through.
func granted(requests int, take func() bool) (n int) {
	for range requests {
		if take() {
			n++
		}
	}
	return n
}

func assertGranted(t *testing.T, name string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s let %d requests through, expected %d", name, got, want)
	}
}

// ourBucket asks the limiter at the time of the call.
func ourBucket(t *testing.T, l limit) func() bool {
	return oneOf(ours()[0].keyed(t, l))
}

// Goroutines read the clock, then wait for their turn, and so reach the limiter in another order:
// golang/go#71360.
func TestReorderedTimes(t *testing.T) {
	l := limit{tokens: 10, period: 10 * time.Millisecond}
	our := newLimiter(t, l, 1)
	c := our.Identify(clientOf(0).addr, nil)
	early := time.Now()
	late := early.Add(5 * time.Millisecond)
	alternate := func(take func(time.Time) bool) (n int) {
		for range 5000 {
			n += granted(1, func() bool { return take(late) }) + granted(1, func() bool { return take(early) })
		}
		return n
	}

	theirs := newRate(l)
	assertGranted(t, "x/time/rate", alternate(func(at time.Time) bool { return theirs.AllowN(at, 1) }), 10_000)

	assertGranted(t, "this limiter", alternate(func(at time.Time) bool { return admits(our, c, at) }), 10)
}

// A window lets the whole limit through at its end, and again a moment later.
func TestAcrossWindows(t *testing.T) {
	l := limit{tokens: 100, period: time.Minute}
	for name, want := range map[string]struct {
		keyed   func(testing.TB, limit) func(client) bool
		granted int
	}{
		"ulule/limiter":       {newUlule, 199},
		"throttled/throttled": {newThrottled, 100},
		"this limiter":        {ours()[0].keyed, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			take := oneOf(want.keyed(t, l))
			take() // the window begins
			time.Sleep(time.Minute - time.Millisecond)
			got := granted(150, take)
			time.Sleep(2 * time.Millisecond)
			got += granted(150, take)
			assertGranted(t, name+" within 2 ms", got, want.granted)
		})
	}
}

// Ticks are counted from the making of the bucket, so that a full one gets a token at once.
func TestTokenBeforeItsTime(t *testing.T) {
	l := limit{tokens: 1, period: time.Second}
	synctest.Test(t, func(t *testing.T) {
		bucket, theirs := newJuju(l), newRate(l)
		our := ourBucket(t, l)
		all := map[string]func() bool{
			"juju/ratelimit": func() bool { return takeJuju(bucket) },
			"x/time/rate":    theirs.Allow,
			"this limiter":   our,
		}
		time.Sleep(time.Second - time.Millisecond)
		got := map[string]int{}
		for name, take := range all {
			got[name] = granted(1, take)
		}
		time.Sleep(time.Millisecond)
		for name, take := range all {
			got[name] += granted(1, take)
		}
		assertGranted(t, "juju/ratelimit within 1 ms", got["juju/ratelimit"], 2)
		assertGranted(t, "x/time/rate within 1 ms", got["x/time/rate"], 1)
		assertGranted(t, "this limiter within 1 ms", got["this limiter"], 1)
	})
}

// The interval between tokens is rounded: down to a nanosecond, or to what is within 1 %.
func TestRoundedRate(t *testing.T) {
	l := limit{tokens: 150, period: 10 * time.Microsecond} // 15,000,000 per second
	const want = 150_000                                   // in 10 ms
	for name, c := range map[string]struct {
		bucket func(t *testing.T) func() bool
		excess float64
	}{
		"this limiter":        {func(t *testing.T) func() bool { return ourBucket(t, l) }, 0},
		"x/time/rate":         {func(*testing.T) func() bool { return newRate(l).Allow }, 0},
		"juju/ratelimit":      {func(*testing.T) func() bool { b := newJuju(l); return func() bool { return takeJuju(b) } }, 0.0025},
		"throttled/throttled": {func(t *testing.T) func() bool { return oneOf(newThrottled(t, l)) }, 0.0101},
	} {
		synctest.Test(t, func(t *testing.T) {
			take := c.bucket(t)
			granted(200, take) // empty
			got := 0
			for range 2000 {
				time.Sleep(5 * time.Microsecond)
				got += granted(200, take)
			}
			assertExcess(t, name, got, want, c.excess)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		lim, start, got := uber.New(15_000_000), time.Now(), 0
		for lim.Take().Sub(start) < 10*time.Millisecond {
			got++
		}
		assertExcess(t, "uber-go/ratelimit", got, want, 0.0101)
	})
}

func assertExcess(t *testing.T, name string, got, want int, excess float64) {
	t.Helper()
	if e := float64(got)/float64(want) - 1; math.Abs(e-excess) > 0.0001 {
		t.Errorf("%s let %d requests through, %+.4f of what was bought, expected %+.4f", name, got, e, excess)
	}
}

// The same for a limiter that reads the clock where synctest cannot set it. What it may let through
// follows from the time that has really passed.
func TestAcrossWindowsInRealTime(t *testing.T) {
	const tokens, period, attempts = 100, 500 * time.Millisecond, 10
	for range attempts { // the machine may pause at the wrong moment
		store := newSethvargoStore(t, memorystore.Config{Tokens: tokens, Interval: period})
		take := oneOf(sethvargoOn(store))
		end := windowEnd(t, store)
		time.Sleep(time.Until(end) - 20*time.Millisecond)

		begin := time.Now()
		got := granted(tokens, take)
		time.Sleep(time.Until(end))
		got += granted(tokens, take)
		entitled := tokens + tokens*float64(time.Since(begin))/float64(period)
		if got == 199 && entitled < 150 {
			return
		}
	}
	t.Errorf("sethvargo/go-limiter did not let 199 requests through around the end of a window in %d attempts", attempts)
}

// windowEnd takes a token and returns when the window ends.
func windowEnd(t *testing.T, store sethvargo.Store) time.Time {
	t.Helper()
	_, _, reset, _, err := store.Take(t.Context(), clientOf(0).name)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, int64(reset))
}

// The refill of a window is the interval divided by the limit rather than the limit: with more than
// 31,622 a second it is less than that (sethvargo/go-limiter#29).
func TestLimitSoldInPart(t *testing.T) {
	l := limit{tokens: 100_000, period: time.Second}
	store := newSethvargoStore(t, memorystore.Config{Tokens: uint64(l.tokens), Interval: l.period})
	take := oneOf(sethvargoOn(store))
	end := windowEnd(t, store)
	assertGranted(t, "sethvargo/go-limiter in the first second", granted(150_000, take), 99_999)
	time.Sleep(time.Until(end))
	assertGranted(t, "sethvargo/go-limiter in the second", granted(150_000, take), 10_000)

	synctest.Test(t, func(t *testing.T) {
		our := ourBucket(t, l)
		for range 3 {
			assertGranted(t, "this limiter in a second", granted(150_000, our), 100_000)
			time.Sleep(time.Second)
		}
	})
}

func TestNewLimitRefills(t *testing.T) {
	l := limit{tokens: 10, period: time.Hour}
	store := newSethvargoStore(t, memorystore.Config{Tokens: 10, Interval: l.period})
	theirs := oneOf(sethvargoOn(store))
	c := clientOf(0)
	assertGranted(t, "sethvargo/go-limiter", granted(20, theirs), 10)
	if err := store.Set(context.Background(), c.name, 10, l.period); err != nil {
		t.Fatal(err)
	}
	assertGranted(t, "sethvargo/go-limiter after Set", granted(20, theirs), 10)

	lim := newLimiter(t, l, 1)
	set := func() {
		register(lim, c.addr, limiter.Limit{Capacity: 10, RatePerSecond: l.perSecond()})
	}
	our := func() bool { return admits(lim, lim.Identify(c.addr, nil), time.Now()) }
	set()
	assertGranted(t, "this limiter", granted(20, our), 10)
	set()
	assertGranted(t, "this limiter after Set", granted(20, our), 0)
}

// The client is told a second, rounded down.
func TestResetTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(900 * time.Millisecond)
		store := memory.NewStoreWithOptions(ulule.StoreOptions{})
		lim := ulule.New(store, ulule.Rate{Period: time.Second, Limit: 1})
		get := func() ulule.Context {
			result, err := lim.Get(context.Background(), "client")
			if err != nil {
				t.Fatal(err)
			}
			return result
		}
		our := newLimiter(t, limit{1, time.Second}, 1)
		take := func() (d limiter.Decision) {
			our.Admit(our.Identify(clientOf(0).addr, nil), time.Now(), &d).Release()
			return d
		}

		get()
		take()
		theirs, retry := time.Until(time.Unix(get().Reset, 0)), take().RetryAfter
		time.Sleep(theirs)
		if !get().Reached {
			t.Error("ulule/limiter lets a request through at Reset; expected it to reject it")
		}
		time.Sleep(retry - theirs)
		if !take().Allowed {
			t.Error("this limiter rejects a request after RetryAfter")
		}
	})
}

func TestBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lim, start := uber.New(10), time.Now()
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() { lim.Take() })
		}
		callers.Wait()
		if waited := time.Since(start).Round(time.Second); waited != 100*time.Second {
			t.Errorf("the last of 1,000 callers at 10 per second waited for %s, expected 100 s", waited)
		}
	})
}

// An update is tried ten times. Then the request is neither allowed nor limited. How often that
// happens is measured by BenchmarkBucket.
func TestGivesUpUnderContention(t *testing.T) {
	store := &overtaken{GCRAStoreCtx: throttled.WrapStoreWithContext(newMemstore(t, 0))}
	l := limit{tokens: 1000, period: time.Hour}
	other := newGCRA(t, store.GCRAStoreCtx, l)
	store.overtake = func() {
		if limited, _, err := other.RateLimitCtx(t.Context(), "client", 1); limited || err != nil {
			t.Errorf("the other request: limited is %t, error %v; expected it to be allowed", limited, err)
		}
	}
	if _, result, err := newGCRA(t, store, l).RateLimitCtx(t.Context(), "client", 1); err == nil {
		t.Errorf("throttled/throttled answers a request that was overtaken ten times: %+v, expected an error", result)
	}
}

// overtaken is a store in which another request for the same key always comes between the reading
// of a request and its writing, as it can when there are two processors.
type overtaken struct {
	throttled.GCRAStoreCtx
	overtake func()
}

func (s *overtaken) GetWithTime(ctx context.Context, key string) (int64, time.Time, error) {
	value, now, err := s.GCRAStoreCtx.GetWithTime(ctx, key)
	s.overtake()
	return value, now, err
}
