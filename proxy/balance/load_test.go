package balance

import (
	"container/heap"
	"fmt"
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
	took   time.Duration
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
	first  time.Duration // what member 0 takes; 0: as long as the others
	works  bool          // member 0 does
	broken int           // one of so many requests fails wherever it goes; 0: none
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
				load.Answered(e.at, e.took)
			}
		}
		at := pickFrom(r.set, r.policy, 0, r.now)
		r.set.members[at].Load.InFlight.Add(1)
		e := ending{member: at, failed: r.broken > 0 && rand.IntN(r.broken) == 0, took: r.takes}
		switch {
		case at == 0 && !r.works:
			e.took, e.failed = r.every/2, true
		case at == 0 && r.first > 0:
			e.took = r.first
		}
		e.at = r.now + e.took
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
				if n < 600 || n > 4000 { // two choices give one at most 4,000
					t.Errorf("%s, one of %d requests fails: member %d got %d of 20,000", policy, broken, i, n)
				}
			}
		}
	}
}

// A response time that was long once counts at once, and for a while.
func TestStanding(t *testing.T) {
	const ms = time.Millisecond
	var l Load
	mustBe := func(when string, inFlight int64, at, want time.Duration) {
		t.Helper()
		l.InFlight.Store(inFlight)
		_, took := l.standing(at)
		got := time.Duration(took << responseBits)
		if math.Abs(float64(got-want)) > 0.07*float64(want) {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	mustBe("idle, and nothing is known", 0, 0, 0)
	mustBe("in flight, and nothing is known", 1, 0, maxValue<<responseBits)
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
		mustBe(fmt.Sprintf("at %s, after a response in %s", step.at, step.took), 0, step.at, step.want)
	}
	const halfLife = 1 << halfBits << unitBits
	mustBe("a half-life without a response later", 0, 2153*ms+halfLife, 15*ms)
	mustBe("the same with requests in flight", 1, 2153*ms+halfLife, 28*ms)
	mustBe("ten seconds later", 0, 12*time.Second, 0)
	mustBe("ten seconds later, with requests in flight", 1, 12*time.Second, 14*ms)
	mustBe("a hundred seconds later, with requests in flight", 1, 100*time.Second, maxValue<<responseBits)
	l.Answered(12*time.Second, 20*ms)
	l.Failed(12*time.Second, 0)
	l.Failed(12*time.Second, 0)
	mustBe("two failures", 0, 12*time.Second, 80*ms)
	l.Failed(12*time.Second, 5*time.Second)
	mustBe("a failure that took long", 0, 12*time.Second, 5*time.Second)
	l.Failed(12*time.Second, 0)
	mustBe("another, at once", 0, 12*time.Second, 5*time.Second)
}

// By latency, with some response times in milliseconds (0: unknown) and requests in flight.
func TestLatency(t *testing.T) {
	for _, test := range []struct {
		name     string
		weights  []int
		times    [2]time.Duration
		inFlight [2]int64
		want     float64 // share of the first
	}{
		{"nothing is known", []int{1, 1}, [2]time.Duration{0, 0}, [2]int64{0, 0}, 0.5},
		{"the first is unknown", []int{1, 1}, [2]time.Duration{0, 10}, [2]int64{0, 0}, 1},
		{"the first is unknown, and being asked", []int{1, 1}, [2]time.Duration{0, 10}, [2]int64{1, 50}, 0},
		{"alike", []int{1, 1}, [2]time.Duration{10, 15}, [2]int64{0, 0}, 0.5},
		{"alike, with other loads", []int{1, 1}, [2]time.Duration{10, 15}, [2]int64{2, 1}, 0},
		{"alike, with other weights", []int{3, 1}, [2]time.Duration{10, 15}, [2]int64{0, 0}, 0.75},
		{"alike, with other weights and loads", []int{3, 1}, [2]time.Duration{10, 15}, [2]int64{2, 1}, 1},
		{"slower", []int{1, 1}, [2]time.Duration{30, 10}, [2]int64{0, 0}, 0},
		{"slower, but not loaded", []int{1, 1}, [2]time.Duration{30, 10}, [2]int64{0, 3}, 1},
		{"slower, and less loaded", []int{1, 1}, [2]time.Duration{30, 10}, [2]int64{1, 3}, 0},
	} {
		s := newTestSet(test.weights...)
		for i := range s.members {
			if s.members[i].Load.InFlight.Store(test.inFlight[i]); test.times[i] > 0 {
				s.members[i].Load.Answered(0, test.times[i]*time.Millisecond)
			}
		}
		if got := float64(shares(s, Latency, 10000)[0]) / 10000; math.Abs(got-test.want) > 0.05 {
			t.Errorf("%s: the first gets %.3f, want %g", test.name, got, test.want)
		}
	}
}

// A member that hangs gets hardly any more requests, and one that is slow is tried again.
func TestLatencyOfTheSilent(t *testing.T) {
	for _, test := range []struct {
		name        string
		takes       time.Duration // at member 0
		least, most int           // requests to member 0, of 20,000 in 20 seconds
	}{
		{"hangs", time.Hour, 1, 20},
		{"slow", 300 * time.Millisecond, 2, 100},
		{"like the others", 10 * time.Millisecond, 1500, 2500},
	} {
		s := newTestSet(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
		r := traffic{set: s, policy: Latency, every: time.Millisecond, takes: 10 * time.Millisecond, works: true}
		r.run(2 * time.Second)
		r.first = test.takes
		if r.run(20 * time.Second); r.counts[0] < test.least || r.counts[0] > test.most {
			t.Errorf("%s: it got %d requests, want %d to %d", test.name, r.counts[0], test.least, test.most)
		}
	}
}
