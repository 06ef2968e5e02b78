package history

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"loadbalancer/proxy/metrics"
)

var began = time.Unix(1_800_000_000, 0)

// after returns a time some seconds after began.
func after(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

// took returns the buckets of a histogram that has counted the durations.
func took(all ...time.Duration) metrics.Buckets {
	var h metrics.Histogram
	for _, d := range all {
		h.Observe(d)
	}
	return h.Buckets()
}

// TestTraffic has readings, and the samples that they make.
func TestTraffic(t *testing.T) {
	const ms = time.Millisecond
	source := func(name string, ok, failed uint64, durations ...time.Duration) Source {
		return Source{name, metrics.Classes{0, ok, 0, 0, failed}, took(durations...)}
	}
	for name, c := range map[string]struct {
		readings         []Reading
		requests, failed []uint32
		rejected         []uint32
		errors           map[string][]uint32
		p50              []float64 // 0: none
	}{
		"the first makes no sample": {
			readings: []Reading{{Sources: []Source{source("", 5, 0)}, Errors: []uint64{1, 2}}},
			requests: []uint32{}, failed: []uint32{}, rejected: []uint32{}, errors: map[string][]uint32{}, p50: []float64{},
		},
		"what has risen": {
			readings: []Reading{
				{Sources: []Source{source("", 5, 0, 20*ms), source("a", 7, 1)}, Errors: []uint64{1, 2}, Rejected: 3},
				{Sources: []Source{source("", 6, 0, 20*ms, 20*ms), source("a", 9, 2)}, Errors: []uint64{1, 4}, Rejected: 3},
				{Sources: []Source{source("", 6, 0, 20*ms, 20*ms), source("a", 9, 2)}, Errors: []uint64{1, 4}, Rejected: 4},
			},
			requests: []uint32{4, 0}, failed: []uint32{1, 0}, rejected: []uint32{0, 1},
			errors: map[string][]uint32{"y": {2, 0}}, p50: []float64{17.5, 0},
		},
		"one that comes, goes and comes again from 0": {
			readings: []Reading{
				{Errors: []uint64{0, 0}},
				{Sources: []Source{source("a", 3, 0)}, Errors: []uint64{0, 0}},
				{Errors: []uint64{0, 0}},
				{Sources: []Source{source("a", 4, 0)}, Errors: []uint64{0, 0}},
			},
			requests: []uint32{3, 0, 4}, failed: []uint32{0, 0, 0}, rejected: []uint32{0, 0, 0}, errors: map[string][]uint32{}, p50: []float64{0, 0, 0},
		},
		"a counter that began anew": {
			readings: []Reading{
				{Sources: []Source{source("a", 100, 9)}, Errors: []uint64{0, 0}},
				{Sources: []Source{source("a", 2, 1)}, Errors: []uint64{0, 0}},
			},
			requests: []uint32{3}, failed: []uint32{1}, rejected: []uint32{0}, errors: map[string][]uint32{}, p50: []float64{0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := New([]string{"x", "y"})
			var times []float64
			for i, r := range c.readings {
				r.At = after(i)
				h.Add(&r)
				if i > 0 {
					times = append(times, float64(r.At.Unix()))
				}
			}
			got := h.Traffic(Samples)
			p50 := []float64{}
			for _, ms := range got.P50 {
				if ms == nil {
					ms = new(float64)
				}
				p50 = append(p50, *ms)
			}
			if !slices.Equal(got.Time, times) || !reflect.DeepEqual(got.Requests, c.requests) || !reflect.DeepEqual(got.Statuses["5xx"], c.failed) ||
				!reflect.DeepEqual(got.Rejected, c.rejected) || !reflect.DeepEqual(got.Errors, c.errors) || !slices.Equal(p50, c.p50) {
				t.Errorf("got %+v, p50 %v", got, p50)
			}
		})
	}
}

// TestSamplesAreBounded adds more samples than are kept.
func TestSamplesAreBounded(t *testing.T) {
	h := New(nil)
	for i := range Samples + 11 {
		h.Add(&Reading{At: after(i), Rejected: uint64(i * i)})
	}
	all, last := h.Traffic(Samples+100), h.Traffic(2)
	if len(all.Time) != Samples || all.Time[0] != float64(after(11).Unix()) || all.Time[Samples-1] != float64(after(Samples+10).Unix()) {
		t.Errorf("got %d samples from %v to %v", len(all.Time), all.Time[0], all.Time[len(all.Time)-1])
	}
	if want := []uint32{2*(Samples+9) - 1, 2*(Samples+10) - 1}; !slices.Equal(last.Rejected, want) {
		t.Errorf("got the latest %v, want %v", last.Rejected, want)
	}
	if none := h.Traffic(0); len(none.Time) != 0 || none.Statuses["2xx"] == nil {
		t.Errorf("got %+v for none", none)
	}
}

// TestRecent has a backend that is there from the first reading, and one that comes later and goes.
func TestRecent(t *testing.T) {
	h := New(nil)
	for i, all := range [][]Tally{
		{{"p", "a", 10, 1}},
		{{"p", "a", 12, 1}, {"p", "b", 5, 5}},
		{{"p", "a", 12, 2}, {"p", "b", 6, 5}},
		{{"p", "a", 20, 2}},
		{{"p", "a", 21, 2}, {"p", "b", 3, 0}},
	} {
		h.AddWide(after(10*i), all)
	}
	for backend, want := range map[string]*Recent{
		"a": {[]uint32{2, 0, 8, 1}, []uint32{0, 1, 0, 0}},
		"b": {[]uint32{0, 0, 0, 3}, []uint32{0, 0, 0, 0}},
		"c": {[]uint32{0, 0, 0, 0}, []uint32{0, 0, 0, 0}},
	} {
		if got := h.Recent("p", backend, Points); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", backend, got, want)
		}
	}
	if got, want := h.Times(2), []float64{float64(after(30).Unix()), float64(after(40).Unix())}; !slices.Equal(got, want) {
		t.Errorf("got the times %v, want %v", got, want)
	}
	if got := h.Recent("p", "a", 1); !reflect.DeepEqual(got, &Recent{[]uint32{1}, []uint32{0}}) {
		t.Errorf("got the latest %v", got)
	}
}

// TestLately has a backend with i requests in the i-th 10 seconds.
func TestLately(t *testing.T) {
	h, n := New(nil), uint64(0)
	for i := range 100 {
		if n += uint64(i); i == 2 {
			if got := h.Lately("p", "a", n+4); got != 1+2+4 {
				t.Errorf("after 10 seconds, got %d", got)
			}
		}
		h.AddWide(after(10*i), []Tally{{"p", "a", n, 0}})
	}
	if got, want := h.Lately("p", "a", n+4), uint64(94+95+96+97+98+99+4); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if got := h.Lately("p", "new", 3); got != 3 {
		t.Errorf("of a new one, got %d, want 3", got)
	}
}

// many are a reading of 1,000 backends in 10 pools.
func many() (r Reading, all []Tally) {
	r.Errors = make([]uint64, 20)
	for pool := range 10 {
		name := fmt.Sprintf("pool-%d", pool)
		r.Sources = append(r.Sources, Source{Name: name})
		all = append(all, Tally{Pool: name})
		for b := range 100 {
			all = append(all, Tally{Pool: name, Backend: fmt.Sprintf("http://10.0.%d.%d:8080", pool, b)})
		}
	}
	return r, all
}

// TestMemory fills the history of 1,000 backends.
func TestMemory(t *testing.T) {
	r, all := many()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	h := New(make([]string, 20))
	for i := range 2 * Samples {
		r.At = after(i)
		h.Add(&r)
		h.AddWide(r.At, all)
	}
	if got := used() - before; got > 1<<20 {
		t.Errorf("the history takes %d bytes, at most 1 MiB is allowed", got)
	} else {
		t.Logf("the history takes %d bytes", got)
	}
	runtime.KeepAlive(h)
	runtime.KeepAlive(all)
}

// BenchmarkAdd measures a second of the history of 1,000 backends, and BenchmarkAddWide what is added
// each 10 seconds, both without the reading of the counters.
func BenchmarkAdd(b *testing.B) {
	h := New(make([]string, 20))
	r, _ := many()
	for i := 0; b.Loop(); i++ {
		r.At = after(i)
		h.Add(&r)
	}
}

func BenchmarkAddWide(b *testing.B) {
	h := New(nil)
	_, all := many()
	for i := 0; b.Loop(); i++ {
		h.AddWide(after(i), all)
	}
}
