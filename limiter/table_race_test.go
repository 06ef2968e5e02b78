package limiter

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Whatever is done to a table at once, at times that go back and forth and with hardly a place, no
// client has more than its limit, no place is lost, and no slot leads to what was replaced.
func TestTableAtOnce(t *testing.T) {
	const workers, requests, step = 8, 2500, 20
	for _, places := range []int{1, 2, 11, 16, 22, 40, 500} {
		limit := Limit{3, 1e6}
		keys := 20 * places
		tab := newTable(prepare(limit), places)
		var clock atomic.Int64
		clock.Store(t0)
		var mu sync.Mutex
		granted := make([][]int64, keys)
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				mine := make([][]int64, keys)
				for range requests {
					key := rand.IntN(keys)
					switch rand.IntN(4) {
					case 0:
						key = 0
					case 1: // a newcomer, to all at once
						key = int(clock.Load()/step/16) % keys
					}
					now := clock.Add(step) - rand.Int64N(20*step)
					switch rand.IntN(20) {
					case 0:
						tab.peek(spread(key))
					case 1:
						tab.raise(spread(key), tab.rates.at(now)+tab.rates.ticks(1), now)
					}
					if tab.take(spread(key), now).allowed {
						mine[key] = append(mine[key], now)
					}
					if n := tab.tracked.Load(); n < 0 || n > int64(places) {
						t.Errorf("%d tracked, of at most %d", n, places)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for key := range mine {
					granted[key] = append(granted[key], mine[key]...)
				}
			})
		}
		all.Wait()
		for _, times := range granted {
			limit.keeps(t, times)
		}
		tab.atRest(t)
	}
}

// atRest fails the test if the table is not as it must be when no request is in flight.
func (t *table) atRest(tb testing.TB) {
	tb.Helper()
	var keys []uint64
	for i := range t.slots {
		g := t.slots[i].Load()
		if g.heirs.Load() != nil || g.isClosed() {
			tb.Errorf("slot %d leads to a group that was replaced", i)
		}
		for j := range g.size() {
			c := g.cell(j)
			switch key := c.key.Load(); {
			case key == 0:
			case key == sealed || c.state.Load() <= 0:
				tb.Errorf("slot %d: key %x with state %d", i, key, c.state.Load())
			case t.slot(key) == uint32(i):
				keys = append(keys, key)
			}
		}
	}
	if n := t.tracked.Load(); n != int64(len(keys)) {
		tb.Errorf("%d tracked, but %d held", n, len(keys))
	}
	slices.Sort(keys)
	if once := slices.Compact(slices.Clone(keys)); len(once) < len(keys) {
		tb.Errorf("%d of %d keys are held twice", len(keys)-len(once), len(keys))
	}
}

// A request that has found a shared bucket and is then held up does not get its token there if the
// client has meanwhile had a bucket of its own, spent from it, got it back and been dropped.
func TestSharedTokenAfterOwnBucket(t *testing.T) {
	tab := newTable(prepare(Limit{1, 1}), 1)
	tab.take(1, t0)
	const early = t0 + 9e8
	shared, own := tab.bucket(2, early)
	if own {
		t.Fatal("there was a place")
	}
	for _, key := range []uint64{2, 3} { // each drops the one before
		if !tab.take(key, t0+int64(key-1)*1e9).allowed {
			t.Fatal("refused")
		}
	}
	o, _ := takeFrom(shared, early, &tab.rates)
	if !o.allowed || !tab.overtaken(2, o.tat-tab.rates.ticks(1)) {
		t.Error("two tokens within 0.1 s")
	}
	if tab.take(2, early).allowed {
		t.Error("two tokens within 0.1 s, at the second try")
	}
}

// A debt that comes to a newcomer just as a place becomes free is not lost.
func TestRaiseWhileOpening(t *testing.T) {
	for range 3000 {
		tab := newTable(prepare(Limit{10, 1}), 1)
		tab.take(1, t0)
		floor := tab.rates.at(t0 + 9e9)
		var both sync.WaitGroup
		both.Go(func() { tab.raise(2, floor, t0+9e8) })
		both.Go(func() { tab.take(2, t0+1e9) })
		both.Wait()
		if tab.peek(2) < floor {
			t.Fatal("the debt was forgiven")
		}
	}
}
