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

// recorder answers checks by the target's name, and keeps what was checked and reported.
type recorder struct {
	mu      sync.Mutex
	down    map[string]bool
	checks  map[string]int
	reports []string

	reported map[string]bool // the targets that the last report said are down
}

func newRecorder() *recorder {
	return &recorder{down: map[string]bool{}, checks: map[string]int{}, reported: map[string]bool{}}
}

func (r *recorder) check(_ context.Context, _ Config, t Target) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks[t.Name]++
	if r.down[t.Name] {
		return errDown
	}
	return nil
}

func (r *recorder) targets(names ...string) (all []Target) {
	for _, name := range names {
		all = append(all, Target{Name: name, Report: func(v Verdict) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if v.Down != r.reported[name] {
				r.reported[name] = v.Down
				r.reports = append(r.reports, fmt.Sprint(name, " ", !v.Down))
			}
		}})
	}
	return all
}

// since returns how often each of the targets is checked in the time.
func (r *recorder) since(d time.Duration, names ...string) (counts []int) {
	r.mu.Lock()
	clear(r.checks)
	r.mu.Unlock()
	time.Sleep(d)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		counts = append(counts, r.checks[name])
	}
	return counts
}

// TestSet changes the targets and the config of a running watcher. What is known of a target lives
// on: one that is down is not reported a second time, and its successes in a row count as before.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.down["b"] = true
		cfg := DefaultConfig()
		w := newWatcher(cfg, r.targets("a", "b"), r.check)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		time.Sleep(time.Minute)

		w.Set(cfg, r.targets("b", "c"))
		if got := r.since(time.Minute, "a", "b", "c"); got[0] != 0 || got[1] < 25 || got[2] < 25 {
			t.Errorf("a, b and c were checked %v times", got)
		}
		slow := cfg
		slow.Interval, slow.Rise = 10*time.Second, 3
		w.Set(slow, r.targets("b", "c"))
		if got := r.since(time.Minute, "b", "c"); got[0] > 28 || got[0] < 20 || got[1] > 8 || got[1] < 5 {
			t.Errorf("b and c were checked %v times, every 2.5 s and every 10 s", got)
		}
		r.mu.Lock()
		r.down["b"] = false
		r.mu.Unlock()
		time.Sleep(time.Minute)
		w.Set(slow, nil)
		if got := r.since(time.Minute, "b", "c"); !slices.Equal(got, []int{0, 0}) {
			t.Errorf("b and c were checked %v times after they had gone", got)
		}
		cancel()
		running.Wait()
		w.Set(slow, r.targets("d"))
		if got := r.since(time.Minute, "d"); got[0] != 0 {
			t.Error("a target is checked after the end")
		}
		if want := []string{"b false", "b true"}; !slices.Equal(r.reports, want) {
			t.Errorf("reported %q, want %q", r.reports, want)
		}
	})
}

// TestSetBeforeRun: nothing is checked before Run, and then what was set last.
func TestSetBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		w := newWatcher(DefaultConfig(), r.targets("a"), r.check)
		w.Set(DefaultConfig(), r.targets("b"))
		if got := r.since(time.Minute, "a", "b"); !slices.Equal(got, []int{0, 0}) {
			t.Errorf("checked %v times before Run", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		if got := r.since(time.Minute, "a", "b"); got[0] != 0 || got[1] == 0 {
			t.Errorf("a and b were checked %v times", got)
		}
		cancel()
		running.Wait()
	})
}

// TestSetDuringACheck: Set waits for a check of a target that goes, and its result does not count.
func TestSetDuringACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		slow := func(ctx context.Context, _ Config, _ Target) error {
			<-ctx.Done()
			return ctx.Err()
		}
		w := newWatcher(DefaultConfig(), r.targets("a"), slow)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		synctest.Wait()
		w.Set(DefaultConfig(), nil)
		cancel()
		running.Wait()
		if len(r.reports) != 0 {
			t.Errorf("reported %q", r.reports)
		}
	})
}
