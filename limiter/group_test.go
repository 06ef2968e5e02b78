package limiter

import (
	"math/rand/v2"
	"testing"
)

// A group is split such that either half has room for all its clients. This test fills the lower
// half alone: first with a few clients that are dropped, then with more than a group holds.
func TestSplitIntoOneHalf(t *testing.T) {
	for dropped := range cellsPerGroup + 1 {
		tab := newTable(prepare(Limit{1, 1}), 8*clientsPerGroup)
		random := rand.New(rand.NewPCG(1, 2))
		comeAt := func(now int64) {
			if !tab.take(max(1, random.Uint64()/2), now).allowed {
				t.Error("a newcomer was refused")
			}
		}
		for range dropped {
			comeAt(t0)
		}
		for range 2 * cellsPerGroup {
			comeAt(t0 + keptFor + 2e9)
		}
	}
}

// A newcomer that has a cell, and is held up before its bucket is opened, keeps it.
func TestNotOpenedIsKept(t *testing.T) {
	tab := newTable(prepare(Limit{1, 1}), 1)
	c, _ := tab.current(0).find(1)
	tab.claim(c, 1)
	tab.take(2, t0) // finds no place, and no client to drop
	g := tab.current(0)
	tab.renew(g, tab.rates.at(t0))
	if _, known := tab.current(0).find(1); !known || tab.tracked.Load() != 1 || tab.current(0).start != 0 {
		t.Errorf("known %v, %d tracked, start %d, want true, 1 and 0", known, tab.tracked.Load(), tab.current(0).start)
	}
	if !tab.take(1, t0).allowed {
		t.Error("no token")
	}
	tab.atRest(t)
}
