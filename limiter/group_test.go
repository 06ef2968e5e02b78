package limiter

import (
	"math/rand/v2"
	"testing"
)

// A group is split such that either half has room for all its clients. Here that is put to the test by
// clients of the lower half alone: a few who are dropped after a while, and more than a group holds.
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
