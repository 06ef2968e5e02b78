package healthz

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestStartAfter(t *testing.T) {
	tests := []struct {
		name         string
		n            int
		within       time.Duration
		atOnce       int
		last, perGap time.Duration // when the last one begins, and the time between two
	}{
		{"one", 1, 2 * time.Second, 1, 0, 0},
		{"few", 16, 2 * time.Second, 16, 0, 0},
		{"a few more", 20, 2 * time.Second, 16, 20 * time.Millisecond, 5 * time.Millisecond},
		{"many", 1016, 2 * time.Second, 16, 2 * time.Second, 2 * time.Millisecond},
		{"many in a short interval", 1016, 10 * time.Millisecond, 16, 10 * time.Millisecond, 10 * time.Microsecond},
		{"many in a long interval", 1016, time.Hour, 16, 5 * time.Second, 5 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atOnce, before := 0, time.Duration(0)
			for i := range tt.n {
				at := startAfter(i, tt.n, tt.within)
				if at == 0 {
					atOnce++
				} else if at-before != tt.perGap {
					t.Fatalf("number %d begins %v after the one before, want %v", i, at-before, tt.perGap)
				}
				before = at
			}
			if atOnce != tt.atOnce || before != tt.last {
				t.Errorf("%d begin at once and the last one after %v, want %d and %v", atOnce, before, tt.atOnce, tt.last)
			}
		})
	}
}

func TestPause(t *testing.T) {
	tests := []struct{ interval, down time.Duration }{
		{10 * time.Millisecond, 10 * time.Millisecond},
		{250 * time.Millisecond, 250 * time.Millisecond},
		{400 * time.Millisecond, 250 * time.Millisecond},
		{2 * time.Second, 500 * time.Millisecond},
		{time.Hour, 15 * time.Minute},
	}
	for _, tt := range tests {
		cfg := with(func(c *Config) { c.Interval = tt.interval })
		if up, down := cfg.pause(false), cfg.pause(true); up != tt.interval || down != tt.down {
			t.Errorf("interval %v: %v while up and %v while down, want %v", tt.interval, up, down, tt.down)
		}
	}
}

// TestRunSpreads counts the checks that begin in the first interval of 1,000 targets: each has one
// in it, and no 10 ms have many. The later ones are spread, too.
func TestRunSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		cfg := DefaultConfig()
		cfg.MaxConcurrent = maxMaxConcurrent
		began := time.Now()
		var mu sync.Mutex
		in := map[time.Duration]int{} // by 10 ms
		first := map[string]time.Duration{}
		stop := start(t, cfg, slices.Repeat([]Target{{Report: ignore}}, n), func(_ context.Context, target Target) error {
			mu.Lock()
			defer mu.Unlock()
			at := time.Since(began)
			in[at/(10*time.Millisecond)]++
			if _, seen := first[target.Name]; !seen {
				first[target.Name] = at
			}
			return nil
		})
		time.Sleep(time.Minute)
		stop()
		for name, at := range first {
			if at > cfg.Interval {
				t.Errorf("the first check of %q began after %v, want %v at most", name, at, cfg.Interval)
			}
		}
		if len(first) != n {
			t.Errorf("%d of %d targets were checked", len(first), n)
		}
		for at, count := range in {
			if count > 100 { // of 40 on average, at an instant of the grid
				t.Errorf("%d checks began within 10 ms, after %v", count, at*10*time.Millisecond)
			}
		}
	})
}

// TestRunWhileDown measures the pauses between checks of a target that goes down and comes back.
func TestRunWhileDown(t *testing.T) {
	for _, interval := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 10 * time.Second} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := with(func(c *Config) { c.Interval = interval })
				down, checks, before := false, 0, time.Now()
				stop := start(t, cfg, []Target{{Report: func(v Verdict) { down = v.Down }}}, func(context.Context, Target) error {
					checks++
					if pause, want := time.Since(before), cfg.pause(down); checks > 1 && (pause < want*9/10 || pause > want*11/10) {
						t.Errorf("check %d came after %v with down %v, want %v give or take 10 %%", checks, pause, down, want)
					}
					before = time.Now()
					if checks > 5 && checks < 15 {
						return errDown
					}
					return nil
				})
				time.Sleep(30 * interval)
				stop()
				if checks < 20 || down {
					t.Errorf("%d checks, and down is %v", checks, down)
				}
			})
		})
	}
}

// TestWait: checks begin give or take 10 % of the pause later, at one of the instants that all
// share, and not always at the same.
func TestWait(t *testing.T) {
	tests := []struct{ pause, grid time.Duration }{
		{10 * time.Millisecond, 400 * time.Microsecond},
		{500 * time.Millisecond, 20 * time.Millisecond},
		{2 * time.Second, 80 * time.Millisecond},
		{10 * time.Second, 100 * time.Millisecond},
		{time.Hour, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.pause), func(t *testing.T) {
			if got := grid(tt.pause); got != tt.grid {
				t.Errorf("the grid is %v, want %v", got, tt.grid)
			}
			began, seen := time.Unix(1_000_000_007, 12_345_678), map[time.Duration]bool{}
			for i := range 1000 {
				now := began.Add(time.Duration(i) * 1_234_567)
				got := wait(now, tt.pause)
				if got < tt.pause/10*9 || got > tt.pause/10*11 {
					t.Fatalf("waits %v, want %v give or take 10 %%", got, tt.pause)
				}
				if at := now.Add(got); !at.Equal(at.Truncate(tt.grid)) {
					t.Fatalf("begins at %v, which is no multiple of %v", at, tt.grid)
				}
				seen[wait(began, tt.pause)] = true
			}
			if len(seen) < 4 {
				t.Errorf("the same wait has %d lengths, want some", len(seen))
			}
		})
	}
}
