package limiter

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// spread makes keys of small numbers as good as those of a hash.
func spread(i int) uint64 {
	return min(max(1, rand.NewPCG(uint64(i), 1).Uint64()), sealed-1)
}

// take is decide in a table that is not being replaced.
func (t *table) take(key uint64, now int64) outcome {
	o, here := t.decide(&Client{}, key, now)
	if !here {
		panic("BUG: the client is in the next table")
	}
	return o
}

func TestTableHoldsMaxAndSharesTheRest(t *testing.T) {
	const maxTracked, capacity = 1000, 3
	tab := newTable(prepare(Limit{capacity, 1}), maxTracked)
	for i := range maxTracked {
		for n := range capacity + 1 {
			if o := tab.take(spread(i), t0); o.allowed != (n < capacity) {
				t.Fatalf("client %d, request %d: allowed %v", i, n, o.allowed)
			}
		}
	}
	if got := tab.tracked.Load(); got != maxTracked {
		t.Errorf("%d tracked, want %d", got, maxTracked)
	}

	// Newcomers find it full of debtors. They get what the overflow buckets hold, and no more.
	allowed := 0
	for i := maxTracked; i < 20*maxTracked; i++ {
		if tab.take(spread(i), t0).allowed {
			allowed++
		}
	}
	if most := overflowBuckets * capacity; allowed > most || allowed < most/2 {
		t.Errorf("%d newcomers allowed, want nearly %d", allowed, most)
	}
	for i := range maxTracked {
		if tab.take(spread(i), t0).allowed {
			t.Fatalf("client %d was forgotten", i)
		}
	}

	// Once they have repaid, all can be replaced.
	const later = t0 + capacity*1e9
	for i := 100_000; i < 100_000+maxTracked*3/4; i++ {
		if tab.take(spread(i), later); tab.tracked.Load() > maxTracked {
			t.Fatalf("%d tracked, want at most %d", tab.tracked.Load(), maxTracked)
		}
	}
	own := 0
	for i := 100_000; i < 100_000+maxTracked*3/4; i++ {
		if _, ok := tab.bucket(spread(i), later); ok {
			own++
		}
	}
	if own < maxTracked*3/4 {
		t.Errorf("%d of %d newcomers have a bucket of their own", own, maxTracked*3/4)
	}
}

// A client that used up a shared bucket does not get a full one when a place becomes free.
func TestOverflowDebtIsTakenAlong(t *testing.T) {
	tab := newTable(prepare(Limit{3, 1}), 1)
	tab.take(1, t0)
	for range 3 {
		tab.take(2, t0+1e8) // 0.9 s before the only place is free
	}
	if tab.take(2, t0+1e8).allowed {
		t.Fatal("the shared bucket has no end")
	}
	if o := tab.take(2, t0+1e9); o.allowed {
		t.Error("a full bucket for a client in debt")
	}
	if _, own := tab.bucket(2, t0+1e9); !own {
		t.Error("the place is free, but not taken")
	}
	if o := tab.take(2, t0+11e8); !o.allowed {
		t.Error("no token, though one has been refilled")
	}
}

// A flood of keys neither grows the table nor makes it forget a client that has used up its limit.
func TestFloodKeepsHotDebtor(t *testing.T) {
	tab := newTable(prepare(Limit{5, 1}), 500)
	hot, allowed, now := spread(-1), 0, t0
	const requests = 100_000
	for i := range requests {
		now += 100_000 // 10 s in all
		tab.take(spread(i), now)
		if tab.take(hot, now).allowed {
			allowed++
		}
		if got := tab.tracked.Load(); got > 500 {
			t.Fatalf("%d tracked, want at most 500", got)
		}
	}
	if allowed < 14 || allowed > 15 {
		t.Errorf("%d tokens in 10 s, want 5 and one a second", allowed)
	}
}

// As long as not all clients are in debt, a bounded table is as good as one without bounds.
func TestEvictionLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := prepare(Limit{3, 1e6}) // a debt lasts 3 µs
		tab := newTable(r, clientsPerGroup)
		unbounded := make(map[uint64]int64)
		now := int64(1000)
		for range rapid.IntRange(1, 400).Draw(t, "requests") {
			now += rapid.Int64Range(300, 500).Draw(t, "pause") // at most 10 debtors
			key := spread(rapid.IntRange(0, 60).Draw(t, "key"))
			want := take(unbounded[key], now, &r)
			unbounded[key] = want.tat
			if got := tab.take(key, now); got != want {
				t.Fatalf("key %x at %d: %+v, want %+v", key, now, got, want)
			}
		}
		if got := tab.tracked.Load(); got > clientsPerGroup {
			t.Fatalf("%d tracked, want at most %d", got, clientsPerGroup)
		}
	})
}

// A request that comes late, with a time before the eviction, does not find its tokens again.
func TestEvictionAndEarlierTime(t *testing.T) {
	tab := newTable(prepare(Limit{2, 1}), clientsPerGroup)
	tab.take(1, t0)
	tab.take(1, t0)
	for key := uint64(2); key < 2+clientsPerGroup; key++ { // more than the table holds
		tab.take(key, t0+2e9)
	}
	if _, known := tab.current(tab.slot(1)).find(1); known {
		t.Fatal("not evicted")
	}
	if tab.take(1, t0).allowed {
		t.Error("a third token at a time when there were two")
	}
	for n := range 3 {
		if o := tab.take(1, t0+2e9); o.allowed != (n < 2) {
			t.Errorf("request %d after the refill: allowed %v", n, o.allowed)
		}
	}
}

func TestSameNewClientAtOnce(t *testing.T) {
	const capacity, workers = 5, 8
	for _, maxTracked := range []int{1, 3, 16, 100_000} {
		tab := newTable(prepare(Limit{capacity, 1e6}), maxTracked)
		for i := range 2000 {
			var wg sync.WaitGroup
			var allowed atomic.Int64
			now := t0 + int64(i)*capacity*1000 // when the debts of the round before are paid
			for range workers {
				wg.Go(func() {
					for range 3 {
						if tab.take(spread(i), now).allowed {
							allowed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			// With hardly a place, a token of a shared bucket may count twice, but never not at
			// all.
			least := int64(capacity)
			if maxTracked < clientsPerGroup {
				least = 1
			}
			if got := allowed.Load(); got > capacity || got < least {
				t.Fatalf("max %d, client %d: %d allowed, want %d", maxTracked, i, got, capacity)
			}
		}
	}
}

// Goroutines that evict each other's clients without pause break no client's limit.
func TestChurnAtOnce(t *testing.T) {
	const workers, keys, requests, step = 8, 100, 20_000, 500
	r := prepare(Limit{3, 1e6})
	tab := newTable(r, clientsPerGroup) // at most 6 + 8 clients are in debt
	var allowed [keys]atomic.Int64
	var clock atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 2))
			for range requests {
				key := random.IntN(keys)
				if random.IntN(3) == 0 {
					key = 0 // hot
				}
				if tab.take(spread(key), clock.Add(step)).allowed {
					allowed[key].Add(1)
				}
			}
		})
	}
	wg.Wait()
	most := 3 + clock.Load()/1000
	for key := range allowed {
		if got := allowed[key].Load(); got > most {
			t.Errorf("client %d: %d allowed, want at most %d", key, got, most)
		}
	}
	if got := tab.tracked.Load(); got < 0 || got > clientsPerGroup {
		t.Errorf("%d tracked, want at most %d", got, clientsPerGroup)
	}
	held := 0
	for i := range tab.slots {
		g := tab.current(uint32(i))
		for j := range g.size() {
			if g.cell(j).key.Load() != 0 {
				held++
			}
		}
	}
	if got := tab.tracked.Load(); got != int64(held) {
		t.Errorf("%d tracked, but %d held", got, held)
	}
}

func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector")
	}
	const maxTracked = 1_000_000
	before := heapBytes()
	tab := newTable(prepare(Limit{1000, 1}), maxTracked)
	if got := heapBytes() - before; got > 1<<20 {
		t.Errorf("an empty table of %d takes %d bytes", maxTracked, got)
	}
	most := 0.0
	for i := range maxTracked {
		tab.take(spread(i), t0)
		if (i+1)%50_000 == 0 { // however full it is
			each := float64(heapBytes()-before) / float64(i+1)
			t.Logf("%.1f bytes per client with %d", each, i+1)
			if i+1 >= 200_000 {
				most = max(most, each)
			}
		}
	}
	if got := tab.tracked.Load(); got < maxTracked-2 {
		t.Errorf("%d tracked, want %d", got, maxTracked)
	}
	if most > 32 {
		t.Errorf("%.1f bytes per client, want at most 32", most)
	}
	for i := range maxTracked {
		tab.take(spread(-i), t0)
	}
	if each := float64(heapBytes()-before) / maxTracked; each > 32 {
		t.Errorf("%.1f bytes per client after a flood, want at most 32", each)
	}
	runtime.KeepAlive(tab)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The first client of a group drops no other: one whose time was read a little earlier still finds
// a full bucket.
func TestFirstOfAGroup(t *testing.T) {
	r := prepare(Limit{Capacity: 1, RatePerSecond: 1})
	table := newTable(r, clientsPerGroup)
	if !table.take(1, 1_000_000).allowed || !table.take(2, 999_999).allowed {
		t.Error("a newcomer was refused")
	}
}
