package balance

import (
	"container/heap"
	"math"
	"math/rand/v2"
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
	broken int  // one of so many requests fails wherever it goes; 0: none
	now    time.Duration
	under  endings
	counts []int // of requests, by member
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
				load.Failed(e.at, 0)
			} else {
				load.Answered(e.at, r.takes)
			}
		}
		at := pickFrom(r.set, r.policy, 0, r.now)
		r.set.members[at].Load.InFlight.Add(1)
		e := ending{r.now + r.takes, at, r.broken > 0 && rand.IntN(r.broken) == 0}
		if at == 0 && !r.works {
			e.at, e.failed = r.now+r.every/2, true
		}
		heap.Push(&r.under, e)
		counts[at]++
		all++
	}
	r.counts = counts
	return float64(counts[0]) / float64(all)
}

// A member that fails at once gets far less than its share from the first second on, and its share
// once it works again.
func TestFailuresAreLoad(t *testing.T) {
	for _, policy := range []Policy{LeastRequests, RandomTwo, Latency} {
		for _, test := range []struct {
			name    string
			takes   time.Duration
			every   time.Duration
			members int
			first   float64 // most of the first second
			later   float64 // most of the seconds after it
		}{
			{"3 members, 1,000 a second", 10 * time.Millisecond, time.Millisecond, 3, 0.02, 0.02},
			{"3 members, nearly idle", time.Millisecond, 2 * time.Millisecond, 3, 0.03, 0.02},
			{"10 members, 10,000 a second", 10 * time.Millisecond, 100 * time.Microsecond, 10, 0.01, 0.01},
			{"3 members, slow", 300 * time.Millisecond, time.Millisecond, 3, 0.25, 0.12},
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
				if policy == Latency { // the response time has to fade to that of the others
					r.run(8 * time.Second)
				}
				fair := 1 / float64(test.members)
				if got := r.run(2 * time.Second); got < 0.85*fair || got > 1.15*fair {
					t.Errorf("once it works again it got %.3f, want %.3f", got, fair)
				}
			})
		}
	}
}

// What failed long ago does not count at all: ties are shared again.
func TestFailuresAreForgotten(t *testing.T) {
	s := newTestSet(1, 1)
	s.members[0].Load.Failed(0, 0)
	if got := pickFrom(s, LeastRequests, 0, time.Second); got != 1 {
		t.Errorf("a second later member %d is picked", got)
	}
	got := [2]int{}
	for range 100 {
		got[pickFrom(s, LeastRequests, 0, 4*time.Second)]++
	}
	if got != [2]int{50, 50} {
		t.Errorf("four seconds later: %v", got)
	}
}

// A client that asks for a broken page keeps no member out: its failures come to all.
func TestBrokenPage(t *testing.T) {
	for _, policy := range []Policy{LeastRequests, RandomTwo, Latency} {
		for _, broken := range []int{1000, 200, 50, 5} {
			r := traffic{set: newTestSet(1, 1, 1, 1, 1, 1, 1, 1, 1, 1), policy: policy, every: time.Millisecond, takes: 17500 * time.Microsecond, works: true, broken: broken}
			r.run(20 * time.Second)
			for i, n := range r.counts {
				if n < 1000 || n > 3000 {
					t.Errorf("%s, one of %d requests fails: member %d got %d of 20,000", policy, broken, i, n)
				}
			}
		}
	}
}

// A response time that was long once counts at once, and for a while; requests in flight multiply it.
func TestCost(t *testing.T) {
	const ms = time.Millisecond
	near := func(got float64, want time.Duration) bool {
		return math.Abs(got/oneRequest*(1<<responseBits)-float64(want)) < 0.07*float64(want)
	}
	var l Load
	if l.cost(0) != 0 {
		t.Error("an idle member of which nothing is known is not free")
	}
	l.InFlight.Store(1)
	if l.cost(0) < float64(time.Hour/time.Second) {
		t.Error("another request is sent before the first was answered")
	}
	l.InFlight.Store(0)
	for _, step := range []struct {
		at, took, want time.Duration
	}{
		{0, 10 * ms, 10 * ms},
		{5 * ms, 80 * ms, 80 * ms}, // the peak, at once
		{6 * ms, 10 * ms, 80 * ms}, // one shorter time says little
		{1079 * ms, 10 * ms, 45 * ms},
		{2153 * ms, 10 * ms, 27 * ms},
		{2153 * ms, 30 * ms, 30 * ms},
	} {
		l.Answered(step.at, step.took)
		if got := l.cost(step.at); !near(got, step.want) {
			t.Errorf("at %s, after a response in %s: %.1f ms, want %s", step.at, step.took, got/oneRequest*(1<<responseBits)/1e6, step.want)
		}
	}
	if got := l.cost(2153*ms + 1074*ms); !near(got, 15*ms) {
		t.Errorf("a half-life without a response later: %.1f ms", got/oneRequest*(1<<responseBits)/1e6)
	}
	l.InFlight.Store(4)
	if got := l.cost(2153 * ms); !near(got, 150*ms) {
		t.Errorf("with 4 in flight: %.1f ms", got/oneRequest*(1<<responseBits)/1e6)
	}
}

// With weights, a heavy member may have more in flight.
func TestLatencyWeighs(t *testing.T) {
	s := newTestSet(9, 1)
	for i, n := range []int64{5, 1} {
		s.members[i].Load.Answered(0, time.Millisecond)
		s.members[i].Load.InFlight.Store(n)
	}
	for range 100 {
		if pickFrom(s, Latency, 0, 0) != 0 {
			t.Fatal("6 of weight 9 beside 2 of weight 1: the light member is picked")
		}
	}
}
