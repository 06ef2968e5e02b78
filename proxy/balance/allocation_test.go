//go:build !race

package balance

import "testing"

func TestPoliciesDoNotAllocate(t *testing.T) {
	for p := range Policy(len(policies)) {
		for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
			s, key := newTestSet(weights...), uint64(0)
			if n := testing.AllocsPerRun(1000, func() { key++; pickFrom(s, p, key, 0) }); n != 0 {
				t.Errorf("%s with weights %v: %v allocations", p, weights, n)
			}
		}
	}
}
