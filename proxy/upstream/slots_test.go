package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestSlots(t *testing.T) {
	for _, test := range []struct {
		taken, most    int64
		ok, full, over bool
	}{
		{0, 0, true, false, false},
		{1000, 0, true, false, false},
		{0, 1, true, false, false},
		{1, 1, false, true, false},
		{2, 1, false, true, true},
		{4, 5, true, false, false},
	} {
		var p slots
		p.taken.Store(test.taken)
		p.most.Store(test.most)
		if full, over := p.full(), p.over(); full != test.full || over != test.over {
			t.Errorf("%d of %d: full is %v, over %v", test.taken, test.most, full, over)
		}
		want := test.taken
		if test.ok {
			want++
		}
		if ok := p.take(); ok != test.ok || p.taken.Load() != want {
			t.Errorf("%d of %d: taken is %v, %d then", test.taken, test.most, ok, p.taken.Load())
		}
	}
}

func TestLimit(t *testing.T) {
	for _, test := range []struct {
		before, most int
		lower        bool
	}{{0, 0, false}, {0, 3, true}, {3, 0, false}, {3, 3, false}, {3, 4, false}, {3, 2, true}} {
		var p slots
		p.limit(test.before)
		if got := p.limit(test.most); got != test.lower || p.most.Load() != int64(test.most) {
			t.Errorf("%d after %d: lower is %v, the bound %d", test.most, test.before, got, p.most.Load())
		}
	}
}

// TestSlotsAreExact has many take and free slots at once.
func TestSlotsAreExact(t *testing.T) {
	const most = 3
	var p slots
	p.most.Store(most)
	var inside, worst atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if p.take() {
					if n := inside.Add(1); n > worst.Load() {
						worst.Store(n)
					}
					inside.Add(-1)
					p.free()
				}
			}
		})
	}
	all.Wait()
	if worst.Load() > most || p.taken.Load() != 0 {
		t.Errorf("%d were inside at once, and %d slots are taken at the end", worst.Load(), p.taken.Load())
	}
}
