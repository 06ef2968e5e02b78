package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRetryBudget(t *testing.T) {
	type step struct {
		at       time.Duration
		requests int
		asked    int // retries
		granted  int
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"the floor", []step{{0, 0, 20, 10}}},
		{"the floor, each second", []step{{0, 1, 20, 10}, {999 * time.Millisecond, 0, 5, 0}, {time.Second, 1, 20, 10}, {2 * time.Second, 0, 20, 10}}},
		{"the floor, after hours", []step{{5*time.Hour + 7*time.Second, 1, 20, 10}}},
		{"the share", []step{{0, 1000, 500, 200}}},
		{"less than the floor", []step{{0, 49, 20, 10}}},
		{"more than the floor", []step{{0, 59, 20, 11}}},
		{"of earlier requests", []step{{0, 1000, 0, 0}, {9 * time.Second, 0, 500, 200}}},
		{"not of those 10 s ago", []step{{0, 1000, 0, 0}, {10 * time.Second, 0, 500, 10}}},
		{"less what was spent", []step{{0, 1000, 150, 150}, {5 * time.Second, 0, 100, 50}, {6 * time.Second, 1000, 500, 200}}},
		{"the floor counts against the share", []step{{0, 0, 10, 10}, {time.Second, 100, 50, 10}, {2 * time.Second, 100, 50, 20}}},
		{"spent retries leave with their second", []step{{0, 0, 10, 10}, {10 * time.Second, 100, 50, 20}}},
		{"a round later", []step{{3 * time.Second, 1000, 200, 200}, {19 * time.Second, 0, 20, 10}, {28 * time.Second, 200, 50, 30}}},
		{"steady", []step{{0, 100, 30, 20}, {time.Second, 100, 30, 20}, {2 * time.Second, 100, 30, 20}, {3 * time.Second, 100, 30, 20}}},
		{"a request that comes to be counted late", []step{{20 * time.Second, 100, 0, 0}, {4 * time.Second, 100, 0, 0}, {20 * time.Second, 0, 50, 20}}},
		{"a retry that asks a round late", []step{{20 * time.Second, 0, 10, 10}, {4 * time.Second, 0, 1, 0}, {20 * time.Second, 0, 1, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &retryBudget{start: time.Now()}
			for i, s := range test.steps {
				now := b.start.Add(s.at)
				for range s.requests {
					b.request(now)
				}
				granted := 0
				for range s.asked {
					if b.spend(now) {
						granted++
					}
				}
				if granted != s.granted {
					t.Errorf("step %d, after %s: %d of %d retries granted, want %d", i, s.at, granted, s.asked, s.granted)
				}
			}
		})
	}
}

// TestRetryBudgetIsExact has many ask at the same time, at the turn of a second among others.
func TestRetryBudgetIsExact(t *testing.T) {
	const clients, requests = 16, 1000
	for _, at := range []time.Duration{0, 16 * time.Second, 17*time.Second - 1} {
		b := &retryBudget{start: time.Now()}
		b.request(b.start) // a slot that is to be taken over
		now := b.start.Add(at)
		var granted atomic.Int64
		together := func(each func()) {
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for range requests {
						each()
					}
				})
			}
			all.Wait()
		}
		together(func() { b.request(now) })
		together(func() {
			if b.spend(now) {
				granted.Add(1)
			}
		})
		if got, want := granted.Load(), int64(clients*requests/retryShare); got != want {
			t.Errorf("%d retries granted, want %d", got, want)
		}
	}
}
