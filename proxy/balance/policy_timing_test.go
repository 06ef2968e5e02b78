package balance

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkPick picks from members that all have some requests in flight, one of which fails.
func BenchmarkPick(b *testing.B) {
	for p := range Policy(len(policies)) {
		for _, n := range []int{10, 1000} {
			for _, weights := range []string{"equal", "different"} {
				b.Run(fmt.Sprintf("%s/%d/%s", p, n, weights), func(b *testing.B) {
					s := busySet(n, weights == "equal")
					now, key := epoch.Add(2*time.Second), uint64(0)
					b.ReportAllocs()
					for b.Loop() {
						key += 0x9e3779b97f4a7c15
						p.Pick(s, key, now)
					}
				})
			}
		}
	}
}

// BenchmarkAnswered has the response times of a member recorded, one each 100 µs.
func BenchmarkAnswered(b *testing.B) {
	var l Load
	now, took := epoch, time.Duration(0)
	for b.Loop() {
		now, took = now.Add(100*time.Microsecond), (took+617*time.Microsecond)%(10*time.Millisecond)
		l.Answered(now, took)
	}
}

// busySet returns a set of n members with requests in flight, whose weights are equal or not.
func busySet(n int, equal bool) *Set {
	weights := make([]int, n)
	for i := range weights {
		if weights[i] = 1; !equal {
			weights[i] = 1 + i%7
		}
	}
	s := newTestSet(weights...)
	for i := range s.members {
		s.members[i].Load.InFlight.Store(int64(i % 5))
		s.members[i].Load.Answered(epoch.Add(2*time.Second), time.Duration(1+i%3)*time.Millisecond)
	}
	s.members[1].Load.Failed(epoch.Add(time.Second), 0)
	return s
}
