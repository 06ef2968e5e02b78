package balance

import (
	"container/heap"
	"testing"
	"time"
)

// ending is a request that ends.
type ending struct {
	at     time.Duration
	member int
	failed bool
}

// endings are the requests in flight, the next to end first.
type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// traffic sends requests to a set at a rate, in virtual time. Member 0 fails at once until it is
// told to work; the others take a time that is the same for all.
type traffic struct {
	set    *Set
	policy Policy
	every  time.Duration
	takes  time.Duration
	works  bool // member 0 does
	now    time.Duration
	under  endings
}

// run sends requests for a time, and returns the share of member 0.
func (r *traffic) run(d time.Duration) float64 {
	counts := make([]int, len(r.set.members))
	all := 0
	for end := r.now + d; r.now < end; r.now += r.every {
		for len(r.under) > 0 && r.under[0].at <= r.now {
			e := heap.Pop(&r.under).(ending)
			load := r.set.members[e.member].Load
			if load.InFlight.Add(-1); e.failed {
				load.Failed(epoch.Add(e.at), 0)
			}
		}
		at := r.policy.Pick(r.set, 0, epoch.Add(r.now))
		r.set.members[at].Load.InFlight.Add(1)
		e := ending{r.now + r.takes, at, false}
		if at == 0 && !r.works {
			e.at, e.failed = r.now+r.every/2, true
		}
		heap.Push(&r.under, e)
		counts[at]++
		all++
	}
	return float64(counts[0]) / float64(all)
}

// A member that fails at once gets far less than its share from the first second on, and its share
// once it works again.
func TestFailuresAreLoad(t *testing.T) {
	for _, policy := range []Policy{LeastRequests, RandomTwo} {
		for _, test := range []struct {
			name    string
			takes   time.Duration
			every   time.Duration
			members int
			first   float64 // most of the first second
			later   float64 // most of the seconds after it
		}{
			{"3 members, 1,000 a second", 10 * time.Millisecond, time.Millisecond, 3, 0.02, 0.02},
			{"3 members, nearly idle", time.Millisecond, 2 * time.Millisecond, 3, 0.02, 0.02},
			{"10 members, 10,000 a second", 10 * time.Millisecond, 100 * time.Microsecond, 10, 0.01, 0.01},
			{"3 members, slow", 300 * time.Millisecond, time.Millisecond, 3, 0.2, 0.12},
		} {
			t.Run(policy.String()+", "+test.name, func(t *testing.T) {
				weights := make([]int, test.members)
				for i := range weights {
					weights[i] = 1
				}
				r := traffic{set: newTestSet(weights...), policy: policy, every: test.every, takes: test.takes}
				if got := r.run(time.Second); got > test.first {
					t.Errorf("in the first second it got %.3f", got)
				}
				if got := r.run(5 * time.Second); got > test.later {
					t.Errorf("afterwards it got %.3f", got)
				}
				r.works = true
				r.run(6 * time.Second)
				fair := 1 / float64(test.members)
				if got := r.run(2 * time.Second); got < 0.85*fair || got > 1.15*fair {
					t.Errorf("from 6 to 8 seconds after it works again it got %.3f, want %.3f", got, fair)
				}
			})
		}
	}
}

// What failed long ago does not count at all: ties are shared again.
func TestFailuresAreForgotten(t *testing.T) {
	s := newTestSet(1, 1)
	s.members[0].Load.Failed(epoch, 0)
	if got := LeastRequests.Pick(s, 0, epoch.Add(time.Second)); got != 1 {
		t.Errorf("a second later member %d is picked", got)
	}
	got := [2]int{}
	for range 100 {
		got[LeastRequests.Pick(s, 0, epoch.Add(4*time.Second))]++
	}
	if got != [2]int{50, 50} {
		t.Errorf("four seconds later: %v", got)
	}
}
