package metrics

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, 500 * time.Microsecond, 500*time.Microsecond + 1, time.Millisecond, 40 * time.Millisecond, 10 * time.Second, time.Minute} {
		h.Observe(d)
	}
	var b strings.Builder
	Family(&b, "d", "histogram", "A test.")
	h.Write(&b, "d", `pool="a"`)
	got := map[string]float64{}
	for line := range strings.Lines(b.String()) {
		if series, value, _ := strings.Cut(strings.TrimSpace(line), " "); series != "#" {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			got[series] = v
		}
	}
	for le, want := range map[string]float64{"0.0005": 2, "0.001": 4, "0.0025": 4, "0.05": 5, "5": 5, "10": 6, "+Inf": 7} {
		if v := got[fmt.Sprintf(`d_bucket{pool="a",le=%q}`, le)]; v != want {
			t.Errorf("le %s: got %v, want %v", le, v, want)
		}
	}
	last, buckets := 0.0, 0
	for line := range strings.Lines(b.String()) {
		if series, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(series, "d_bucket") {
			v, _ := strconv.ParseFloat(value, 64)
			if buckets++; v < last {
				t.Errorf("%s falls to %v", series, v)
			}
			last = v
		}
	}
	if count := got[`d_count{pool="a"}`]; buckets != len(bounds)+1 || count != 7 || last != 7 {
		t.Errorf("%d buckets, count %v, last bucket %v", buckets, count, last)
	}
	if sum := got[`d_sum{pool="a"}`]; math.Abs(sum-70.042) > 0.001 {
		t.Errorf("sum %v, want 70.042", sum)
	}
}

func TestQuantile(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		counted        []time.Duration
		mean, p50, p99 time.Duration
	}{
		{nil, 0, 0, 0},
		{[]time.Duration{20 * ms}, 20 * ms, 17500 * time.Microsecond, 24850 * time.Microsecond},
		{[]time.Duration{20 * ms, 20 * ms, 20 * ms, 200 * ms}, 65 * ms, 20 * ms, 244 * ms},
		{[]time.Duration{20 * ms, time.Minute}, 30010 * ms, 25 * ms, 10 * time.Second},
	} {
		var h Histogram
		for _, d := range test.counted {
			h.Observe(d)
		}
		if mean, p50, p99 := h.Mean(), h.Quantile(0.5), h.Quantile(0.99); mean != test.mean || p50.Round(time.Microsecond) != test.p50 || p99.Round(time.Microsecond) != test.p99 {
			t.Errorf("%v: got %s, %s and %s, want %s, %s and %s", test.counted, mean, p50, p99, test.mean, test.p50, test.p99)
		}
	}
}
