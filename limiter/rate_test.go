package limiter

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A window is told in whole seconds, rounded up, but the rounding of the rate alone adds none.
func TestWindowAsTold(t *testing.T) {
	for _, tt := range []struct {
		capacity int64
		rates    []float64
		want     string
	}{
		{1, []float64{1.0 / 60, 0.0166667, 0.016667, 0.01667, 0.0167}, "60"},
		{1, []float64{0.016666, 0.0166, 1.0 / 60.5, 1.0 / 61}, "61"}, // as written, a little longer than 60 s
		{100, []float64{100.0 / 3600, 100.0 / 60 / 60, 0.02777778}, "3600"},
		{100, []float64{0.0277777}, "3601"},
		{1000, []float64{1000.0 / 86400, 1000.0 / 3600 / 24}, "86400"},
		{7, []float64{7.0 / 60, 0.1167}, "60"},
		{1, []float64{1.0 / 3, 0.34}, "3"},
		{1, []float64{0.3333, 0.3}, "4"},
		{1000, []float64{1000.0 / 3}, "3"},
		{1000, []float64{333}, "4"},
		{1, []float64{1.0 / 2592000}, "2592000"},
		{1, []float64{0.0007}, "1429"},
		{1, []float64{1.5e-6}, "666667"},
		{500, []float64{0.3}, "1667"},
		{10, []float64{0.99, 0.999}, "11"},
	} {
		for _, rate := range tt.rates {
			fields := string((standardFields).Append(nil, Decision{Allowed: true, Window: prepare(Limit{tt.capacity, rate}).window}))
			if _, got, _ := strings.Cut(fields, ";w="); !strings.HasPrefix(got, tt.want+"\r\n") {
				t.Errorf("capacity %d, rate %v: got %q, want w=%s", tt.capacity, rate, fields, tt.want)
			}
		}
	}
}

// Whatever is refilled in a whole number of seconds is told to be, if the rate was computed.
func TestWindowOfAComputedRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Int64Range(1, maxRefill).Draw(t, "seconds")
		capacity := rapid.Int64Range(1, 1_000_000).Draw(t, "capacity")
		computed := float64(capacity) / float64(seconds)
		if rapid.Bool().Draw(t, "in steps") {
			computed = float64(capacity) / 7 / float64(seconds) * 7
		}
		if l := (Limit{capacity, computed}); float64(capacity)/computed <= maxRefill {
			if got := appendSeconds(nil, prepare(l).window); string(got) != strconv.FormatInt(seconds, 10) {
				t.Fatalf("%+v: %s s, want %d", l, got, seconds)
			}
		}
	})
}

// A client that waits for what it is told is let through, and what it is told is the wait that the
// rate stands for.
func TestWaitOfARoundedRate(t *testing.T) {
	for _, tt := range []struct {
		rate    float64
		seconds int64
	}{
		{1.0 / 60, 60}, {0.016666, 61}, {0.01667, 60}, {100.0 / 3600, 36}, {0.027777, 37},
		{1.0 / 3, 3}, {0.333, 4}, {1.0 / 7, 7}, {1.0 / 86400, 86400}, {0.0166, 61}, {0.3, 4},
	} {
		for _, start := range []int64{t0, t0 + 123_456_789, years} {
			r := prepare(Limit{1, tt.rate})
			var tat int64
			for now, i := start, 0; i < 5; i++ {
				o := take(tat, now, &r)
				if tat = o.tat; !o.allowed {
					t.Fatalf("rate %v: request %d is rejected after the wait it was told", tt.rate, i)
				}
				admitted := r.decision(o)
				rejected := r.decision(take(tat, now, &r))
				for _, told := range []time.Duration{admitted.Reset, rejected.Reset, rejected.RetryAfter} {
					if got := appendSeconds(nil, told); string(got) != fmt.Sprint(tt.seconds) {
						t.Fatalf("rate %v: told to wait %s s after request %d, want %d", tt.rate, got, i, tt.seconds)
					}
				}
				now += tt.seconds * int64(time.Second)
			}
		}
	}
}

// Waits of whole seconds stay whole where a token takes a fraction of one.
func TestTwoTokensInThreeSeconds(t *testing.T) {
	r := prepare(Limit{2, 2.0 / 3})
	tat := take(take(full, t0, &r).tat, t0, &r).tat
	tat = take(tat, t0+2e9, &r).tat // a third of a token is left
	if d := r.decision(take(tat, t0+2e9, &r)); d.RetryAfter != time.Second {
		t.Errorf("the wait is %v, want 1s", d.RetryAfter)
	}
}

// What is sold is what was written, but for what arithmetic has lost.
func TestRateSold(t *testing.T) {
	for _, rate := range []float64{0.3, 0.7, 0.1157, 0.0007, 1e-6, 1.5e-6, 7.7, 123_456.7, 333.3, 0.333, 0.016666, 0.142857, 999, 1e9} {
		written, _ := new(big.Rat).SetString(strconv.FormatFloat(rate, 'f', -1, 64))
		if sold := exactRate(rate); sold.Cmp(written) != 0 {
			t.Errorf("%v is sold as %s", rate, sold)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		places := rapid.IntRange(0, 16).Draw(t, "places")
		digits := rapid.Int64Range(1, 1e16).Draw(t, "digits")
		text := fmt.Sprintf("%de-%d", digits, places)
		written, _ := new(big.Rat).SetString(text)
		rate, _ := strconv.ParseFloat(text, 64)
		more := new(big.Rat).Quo(exactRate(rate), written)
		if off, _ := more.Sub(more, big.NewRat(1, 1)).Float64(); off < -1e-15 || off > 1.1e-14 {
			t.Fatalf("%s is sold as %g of it more", text, off)
		}
	})
}
