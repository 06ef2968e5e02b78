package balance

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkPick picks from members that all have some requests in flight, one of which fails. The
// random number is part of what is measured.
func BenchmarkPick(b *testing.B) {
	for p := range Policy(len(policies)) {
		for _, n := range []int{10, 1000} {
			for _, weights := range []string{"equal", "different"} {
				b.Run(fmt.Sprintf("%s/%d/%s", p, n, weights), func(b *testing.B) {
					s := busySet(p, n, weights == "equal")
					now, key := 2*time.Second, uint64(0)
					b.ReportAllocs()
					for b.Loop() {
						key += golden
						r := Request{Key: key, Now: now}
						if p.Draws() {
							r.Random = rand.Uint64()
						}
						s.Pick(r)
					}
				})
			}
		}
	}
}

// BenchmarkHashBounded picks where the loads of all members are bounded, and those of many exceed
// their bounds.
func BenchmarkHashBounded(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := busySet(Hash, n, true)
			for i := range s.members {
				s.members[i].Load.InFlight.Store(int64(14 + 4*(i%3)))
			}
			now, key := time.Duration(0), uint64(0)
			for b.Loop() {
				key += golden
				now += time.Microsecond
				s.Pick(Request{Key: key, Now: now})
			}
		})
	}
}

// BenchmarkNewSet makes sets for each policy.
func BenchmarkNewSet(b *testing.B) {
	for _, p := range []Policy{RoundRobin, Hash} {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", p, n), func(b *testing.B) {
				s := busySet(p, n, false)
				for b.Loop() {
					NewSet(p, s.members, s.turn)
				}
			})
		}
	}
}

// BenchmarkAnswered has the response times of a member recorded, one each 100 µs.
func BenchmarkAnswered(b *testing.B) {
	var l Load
	now, took := time.Duration(0), time.Duration(0)
	for b.Loop() {
		now, took = now+100*time.Microsecond, (took+617*time.Microsecond)%(10*time.Millisecond)
		l.Answered(now, took)
	}
}

// busySet returns a set of n members with requests in flight, whose weights are equal or not. Their
// loads do not share cache lines, as those of backends do not.
func busySet(p Policy, n int, equal bool) *Set {
	members := make([]Member, n)
	for i := range members {
		l := new(struct {
			Load
			_ [232]byte
		})
		l.InFlight.Store(int64(i % 5))
		l.Answered(2*time.Second, time.Duration(1+i%3)*time.Millisecond)
		members[i] = Member{1, StringKey(fmt.Sprint(i)), &l.Load}
		if !equal {
			members[i].Weight += i % 7
		}
	}
	members[1].Load.Failed(time.Second, 0)
	return NewSet(p, members, new(atomic.Uint64))
}
