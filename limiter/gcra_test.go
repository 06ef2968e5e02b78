package limiter

import (
	"math"
	"math/big"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// years of uptime, in nanoseconds, within the 18 that the arithmetic is made for.
const years = int64(17 * 365 * 24 * time.Hour)

func (r *rates) decision(o outcome) (d Decision) {
	r.describe(o, &d)
	return d
}

func TestTakeSequence(t *testing.T) {
	type step struct {
		after     time.Duration // the step before
		allowed   bool
		remaining int64
		reset     time.Duration // until the next whole token; if rejected, RetryAfter too
	}
	tests := []struct {
		name  string
		limit Limit
		steps []step
	}{
		{"burst, then the rate", Limit{3, 10}, []step{
			{0, true, 2, 100 * time.Millisecond},
			{0, true, 1, 100 * time.Millisecond},
			{0, true, 0, 100 * time.Millisecond},
			{0, false, 0, 100 * time.Millisecond},
			{100*time.Millisecond - 1, false, 0, 1},
			{1, true, 0, 100 * time.Millisecond},
			{250 * time.Millisecond, true, 1, 50 * time.Millisecond},
			{time.Hour, true, 2, 100 * time.Millisecond},
		}},
		{"fractional rate", Limit{1, 0.1}, []step{
			{0, true, 0, 10 * time.Second},
			{3 * time.Second, false, 0, 7 * time.Second},
			{7*time.Second - 1, false, 0, 1},
			{1, true, 0, 10 * time.Second},
		}},
		{"a token each nanosecond", Limit{2, 1e9}, []step{
			{0, true, 1, 1},
			{0, true, 0, 1},
			{0, false, 0, 1},
			{1, true, 0, 1},
			{2, true, 1, 1},
		}},
		{"a token each 12 days", Limit{2, 1e-6}, []step{
			{0, true, 1, 1e15},
			{0, true, 0, 1e15},
			{1e15 - 1, false, 0, 1},
			{1, true, 0, 1e15},
		}},
		{"earlier time", Limit{2, 1}, []step{
			{10 * time.Second, true, 1, time.Second},
			{-5 * time.Second, false, 0, 5 * time.Second},
			{5 * time.Second, true, 0, time.Second},
			{-time.Second, false, 0, 2 * time.Second},
		}},
	}
	for _, start := range []int64{0, 123_456_789_123, years} {
		for _, tt := range tests {
			t.Run(tt.name+" from "+strconv.FormatInt(start, 10), func(t *testing.T) {
				r := prepare(tt.limit)
				var tat int64
				now := start
				for i, s := range tt.steps {
					now += int64(s.after)
					o := take(tat, now, &r)
					tat = o.tat
					want := Decision{Allowed: s.allowed, Capacity: tt.limit.Capacity, Remaining: s.remaining, Reset: s.reset, Window: r.window}
					if !s.allowed {
						want.RetryAfter = s.reset
					}
					if got := r.decision(o); got != want {
						t.Fatalf("step %d: got %+v\nwant %+v", i, got, want)
					}
				}
			})
		}
	}
}

func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		limit Limit
		want  time.Duration
	}{
		{Limit{100, 10}, 10 * time.Second},
		{Limit{5, 0.1}, 50 * time.Second},
		{Limit{3, 0.3}, 10 * time.Second},
		{Limit{1, 3}, 333333334},
		{Limit{1, 1e9}, 1},
	} {
		if r := prepare(tt.limit); r.window != tt.want {
			t.Errorf("%+v: window %v, want %v", tt.limit, r.window, tt.want)
		}
	}
}

// model is the token bucket as the textbook has it, in exact fractions.
type model struct {
	rate, tokens, capacity *big.Rat // tokens per nanosecond, tokens, tokens
	last                   int64
}

func newModel(l Limit) *model {
	rate := exactRate(l.RatePerSecond) // TestRateSold holds it to what was written
	rate.Quo(rate, big.NewRat(1e9, 1))
	capacity := new(big.Rat).SetInt64(l.Capacity)
	return &model{rate, capacity, capacity, 0}
}

func (m *model) refill(now int64) {
	gained := new(big.Rat).Mul(m.rate, new(big.Rat).SetInt64(now-m.last))
	m.tokens = gained.Add(gained, m.tokens)
	if m.tokens.Cmp(m.capacity) > 0 {
		m.tokens = m.capacity
	}
	m.last = now
}

// after returns how many tokens there would be, did the clock show a quarter of a nanosecond more
// or less. That is how exact the limiter is.
func (m *model) after(quarters int64) *big.Rat {
	d := new(big.Rat).Mul(m.rate, big.NewRat(quarters, 4))
	return d.Add(d, m.tokens)
}

func limits() *rapid.Generator[Limit] {
	return rapid.Custom(func(t *rapid.T) Limit {
		rate := math.Pow(10, rapid.Float64Range(-6, 9).Draw(t, "log rate"))
		if rapid.Bool().Draw(t, "round") && rate > 1 {
			rate = math.Floor(rate)
		}
		most := min(int64(rate*maxRefill), 1_000_000_000)
		return Limit{rapid.Int64Range(1, max(1, most)).Draw(t, "capacity"), rate}
	}).Filter(func(l Limit) bool { _, _, ok := l.Check(); return ok })
}

func TestTakeAgreesWithModel(t *testing.T) {
	one := big.NewRat(1, 1)
	rapid.Check(t, func(t *rapid.T) {
		limit := limits().Draw(t, "limit")
		limit.Capacity = min(limit.Capacity, rapid.SampledFrom([]int64{1, 2, 10, maxCapacity}).Draw(t, "most"))
		r, m := prepare(limit), newModel(limit)
		now := rapid.Int64Range(0, years).Draw(t, "start")
		m.last = now
		var tat int64
		for range 100 {
			tokens := rapid.Float64Range(0, 2).Draw(t, "tokens")
			if rapid.Bool().Draw(t, "burst") {
				tokens = 0
			}
			now += int64(tokens / limit.RatePerSecond * 1e9)
			if now > years {
				return // no process lives as long
			}
			m.refill(now)
			o := take(tat, now, &r)
			d := r.decision(o)
			tat = o.tat
			if d.Allowed && m.after(1).Cmp(one) < 0 || !d.Allowed && m.after(-1).Cmp(one) >= 0 {
				t.Fatalf("%+v: allowed %v at %d with %s tokens", limit, d.Allowed, now, m.tokens.FloatString(6))
			}
			if d.Allowed {
				m.tokens = new(big.Rat).Sub(m.tokens, one)
			}
			left := new(big.Rat).SetInt64(d.Remaining)
			if left.Cmp(m.after(1)) > 0 && d.Remaining > 0 || left.Add(left, one).Cmp(m.after(-1)) <= 0 {
				t.Fatalf("%+v: remaining %d at %d with %s tokens", limit, d.Remaining, now, m.tokens.FloatString(6))
			}
		}
	})
}

// Reset is the shortest wait for the next token: a nanosecond less does not do.
func TestResetIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := prepare(limits().Draw(t, "limit"))
		now := rapid.Int64Range(0, years).Draw(t, "now")
		if rapid.Bool().Draw(t, "late") { // small numbers are drawn more often, large ones round worse
			now = years - now
		}
		// Any state from full to empty, or that of a clock which has gone back a little.
		tat := r.at(now) + rapid.Int64Range(0, r.ticks(r.capacity)+16_000_000).Draw(t, "debt")
		o := take(tat, now, &r)
		d := r.decision(o)
		if d.Reset <= 0 || d.Allowed != (d.RetryAfter == 0) || !d.Allowed && d.RetryAfter != d.Reset {
			t.Fatalf("inconsistent: %+v", d)
		}
		tokens := func(now int64) int64 { return (r.at(now) - o.tat + r.ticks(r.capacity)) >> r.shift }
		at := now + int64(d.Reset)
		if tokens(at) < d.Remaining+1 || tokens(at-1) > d.Remaining {
			t.Fatalf("%+v: %d tokens at the reset, %d before", d, tokens(at), tokens(at-1))
		}
		if !d.Allowed && (!take(o.tat, at, &r).allowed || take(o.tat, at-1, &r).allowed) {
			t.Fatalf("%+v: RetryAfter is not the shortest wait", d)
		}
	})
}

// The binary number nearest to 0.3 is below it. Three tokens take 10 s all the same.
func TestRateIsDecimal(t *testing.T) {
	r := prepare(Limit{3, 0.3})
	for _, start := range []int64{0, 123_456_789_123, years} {
		tat := start
		for _, now := range []int64{start, start + 10e9, start + 20e9} {
			for i := range 4 {
				o := take(tat, now, &r)
				if tat = o.tat; o.allowed != (i < 3) {
					t.Errorf("request %d at %d: allowed %v", i, now, o.allowed)
				}
			}
		}
	}
}

// A client that always wants more gets what was sold, not 0.01 % less, and no token more than a
// clock that is a quarter of a nanosecond late would give.
func TestEntitlement(t *testing.T) {
	const capacity, tokens = 100, 1_000_000
	for _, rate := range []float64{1e9, 999_999_999, 7e8, 333_333_333.3, 123_456_789.1, 1e6, 99_999, 3, 0.7, 0.1} {
		for _, start := range []int64{0, 1_234_567, years} {
			r := prepare(Limit{capacity, rate})
			window := int64(tokens / rate * 1e9)
			step := max(1, int64(50/rate*1e9))
			var tat, got int64
			for now := start; now <= start+window; now += step {
				for o := take(tat, now, &r); o.allowed; o = take(tat, now, &r) {
					tat = o.tat
					got++
				}
			}
			window -= window % step
			most := capacity + rate*(float64(window)+0.25)/1e9
			if float64(got) > most || float64(got) < most*0.9999-1 {
				t.Errorf("rate %v from %d: got %d tokens, want %v at most and hardly less", rate, start, got, most)
			}
		}
	}
}

// Whatever the order of their times, the requests of a window get no more than the window gives.
func TestReorderedClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{rapid.Int64Range(1, 5).Draw(t, "capacity"), 1e6}
		r := prepare(limit)
		times := rapid.SliceOfN(rapid.Int64Range(1e9, 1e9+20_000), 1, 80).Draw(t, "times")
		var tat int64
		var admitted []int64
		for _, now := range times {
			o := take(tat, now, &r)
			if o.tat < tat {
				t.Fatalf("the state went back from %d to %d", tat, o.tat)
			}
			if tat = o.tat; o.allowed {
				admitted = append(admitted, now)
			}
		}
		for _, from := range admitted {
			for _, to := range admitted {
				n := 0
				for _, at := range admitted {
					if from <= at && at <= to {
						n++
					}
				}
				if most := float64(limit.Capacity) + float64(to-from)/1000; n > 0 && float64(n) > most {
					t.Fatalf("%d admitted in a window of %d ns, want at most %v", n, to-from, most)
				}
			}
		}
	})
}

func TestRaiseNeverRefills(t *testing.T) {
	r := prepare(Limit{3, 1})
	var state atomic.Int64
	for i, step := range []struct{ floor, want int64 }{{7, 7}, {5, 7}, {9, 9}} {
		if !raise(&state, step.floor) {
			t.Fatalf("step %d: closed", i)
		}
		if got := state.Load(); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	state.Or(closed)
	if raise(&state, 11) || state.Load()&^closed != 9 {
		t.Error("raised a closed bucket")
	}
	if _, ok := takeFrom(&state, 0, &r); ok {
		t.Error("took from a closed bucket")
	}
}

func TestConcurrentTakes(t *testing.T) {
	const workers, requests, step = 8, 20_000, 1000
	limit := Limit{50, 123_456.7} // asked for 8 times as often
	r := prepare(limit)
	var state, clock, allowed atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range requests {
				if o, ok := takeFrom(&state, clock.Add(step), &r); !ok {
					t.Error("closed")
				} else if o.allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	most := float64(limit.Capacity) + limit.RatePerSecond*float64(clock.Load()-step)/1e9
	if got := float64(allowed.Load()); got > most || got < most*0.9999-1 {
		t.Errorf("%v allowed, want %v at most and hardly less", got, most)
	}
}
