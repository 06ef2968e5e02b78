package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// newTestSet makes a set of members with these weights.
func newTestSet(weights ...int) *Set {
	var members []Member
	for i, w := range weights {
		members = append(members, Member{w, StringKey(fmt.Sprintf("http://10.0.0.%d:80", i+1)), new(Load)})
	}
	return NewSet(Hash, members, new(atomic.Uint64))
}

// pickFrom picks by a policy from a set for any.
func pickFrom(s *Set, p Policy, key uint64, now time.Duration) int {
	return policies[p].pick(s, Request{key, now, rand.Uint64()})
}

// shares counts the members that n picks give, each for another client.
func shares(s *Set, p Policy, n int) []int {
	counts := make([]int, len(s.members))
	for i := range n {
		counts[pickFrom(s, p, clientKey(i), 0)]++
	}
	return counts
}

// clientKey is the key of the i-th client.
func clientKey(i int) uint64 {
	return AddrKey(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
}

func TestShareByWeight(t *testing.T) {
	const picks = 60000
	for _, policy := range []Policy{RoundRobin, Random, RandomTwo, IPHash, Hash} {
		for _, weights := range [][]int{{1}, {1, 1, 1}, {5, 1, 1}, {1, 2, 3, 4}, {1000, 500, 500}} {
			t.Run(fmt.Sprint(policy, weights), func(t *testing.T) {
				total := 0
				for _, w := range weights {
					total += w
				}
				tolerance := 0.06
				if policy == RandomTwo && len(weights) > 1 && weights[0] != weights[1] {
					tolerance = 0.45 // two different ones are drawn, which evens the shares out
				}
				for i, got := range shares(newTestSet(weights...), policy, picks) {
					want := float64(picks*weights[i]) / float64(total)
					if math.Abs(float64(got)-want) > tolerance*want {
						t.Errorf("member %d of weight %d got %d of %d, want about %.0f", i, weights[i], got, picks, want)
					}
				}
			})
		}
	}
}

// In one round each member has exactly its turns, and they are as far apart as they can be.
func TestRoundRobinIsSmooth(t *testing.T) {
	for _, test := range []struct {
		weights []int
		round   int
		row     int // most turns in a row of one backend
	}{
		{[]int{1}, 1, 1},
		{[]int{7}, 1, 1},
		{[]int{1, 1, 1}, 3, 1},
		{[]int{10, 10}, 2, 1},
		{[]int{4, 2, 2}, 4, 1},
		{[]int{5, 1, 1}, 7, 2},
		{[]int{6, 1}, 7, 6},
		{[]int{3, 2}, 5, 2},
		{[]int{1000, 1}, 1001, 1000},
	} {
		t.Run(fmt.Sprint(test.weights), func(t *testing.T) {
			s := newTestSet(test.weights...)
			if len(s.schedule) != test.round {
				t.Fatalf("a round has %d turns, want %d", len(s.schedule), test.round)
			}
			scale := 0
			for _, w := range test.weights {
				scale += w
			}
			scale /= test.round
			for range 3 {
				for i, got := range shares(s, RoundRobin, test.round) {
					if want := test.weights[i] / scale; got != want {
						t.Errorf("member %d had %d turns, want %d", i, got, want)
					}
				}
			}
			longest, row := 1, 1
			for i := 1; i < len(s.schedule); i++ {
				if row++; s.schedule[i] != s.schedule[i-1] {
					row = 1
				}
				longest = max(longest, row)
			}
			if longest > test.row && len(test.weights) > 1 {
				t.Errorf("%d turns in a row, want at most %d: %v", longest, test.row, s.schedule)
			}
		})
	}
}

// The order is that of nginx.
func TestRoundRobinOrder(t *testing.T) {
	if got := fmt.Sprint(smoothSchedule([]int{5, 1, 1})); got != "[0 0 1 0 2 0 0]" {
		t.Errorf("got %s", got)
	}
}

func TestScheduleIsBounded(t *testing.T) {
	odd := make([]int, 1000)
	for i := range odd {
		odd[i] = 1 + i%1000
	}
	light := slices.Repeat([]int{1}, 1000)
	light[0] = 1000
	for _, weights := range [][]int{odd, light, slices.Repeat([]int{1000}, 1000), {997, 991, 983}} {
		s := newTestSet(weights...)
		if n := len(s.schedule); n > maxSchedule+len(weights) {
			t.Errorf("%d members make a round of %d turns", len(weights), n)
		}
		turns := shares(s, RoundRobin, len(s.schedule))
		total := 0
		for _, w := range weights {
			total += w
		}
		for i, w := range weights {
			exact := float64(w) / float64(total) * float64(len(s.schedule))
			if turns[i] < 1 || math.Abs(float64(turns[i])-exact) > 1.5 {
				t.Errorf("member %d of weight %d has %d turns, want about %.1f", i, w, turns[i], exact)
			}
		}
	}
	if s := newTestSet(); len(s.schedule) != 0 || len(s.members) != 0 {
		t.Error("a set of no members has turns")
	}
}

func TestLeastRequests(t *testing.T) {
	t.Run("ties are shared", func(t *testing.T) {
		for i, got := range shares(newTestSet(1, 1, 1, 1), LeastRequests, 400) {
			if got != 100 {
				t.Errorf("member %d got %d of 400", i, got)
			}
		}
	})
	for _, test := range []struct {
		name    string
		weights []int
		load    []int64
		want    int
	}{
		{"the idle one", []int{1, 1, 1}, []int64{3, 0, 2}, 1},
		{"fewer", []int{1, 1, 1}, []int64{3, 2, 1}, 2},
		{"by weight", []int{1, 3}, []int64{1, 2}, 1},
		{"by weight, when it is loaded", []int{1, 3}, []int64{1, 4}, 0},
		{"an idle light one before a loaded heavy one", []int{1, 1000}, []int64{0, 1000}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestSet(test.weights...)
			for i, n := range test.load {
				s.members[i].Load.InFlight.Store(n)
			}
			for range 2 * len(s.members) {
				if got := pickFrom(s, LeastRequests, 0, 0); got != test.want {
					t.Fatalf("picked %d, want %d", got, test.want)
				}
			}
		})
	}
	t.Run("load settles by weight", func(t *testing.T) {
		s := newTestSet(1, 2, 5)
		for range 800 {
			s.members[pickFrom(s, LeastRequests, 0, 0)].Load.InFlight.Add(1)
		}
		for i, want := range []int64{100, 200, 500} {
			if got := s.members[i].Load.InFlight.Load(); got < want-1 || got > want+1 {
				t.Errorf("member %d has %d under way, want %d", i, got, want)
			}
		}
	})
}

func TestRandomTwoAvoidsTheLoaded(t *testing.T) {
	const picks = 10000
	s := newTestSet(1, 1, 1, 1)
	s.members[2].Load.InFlight.Store(10)
	got := shares(s, RandomTwo, picks)
	// It is only picked when all draws give it.
	if got[2] > picks/50 {
		t.Errorf("the loaded member got %d of %d", got[2], picks)
	}
}

// A heavy member with more requests under way than a light one may still be the less loaded.
func TestRandomTwoWeighsTheLoad(t *testing.T) {
	s := newTestSet(9, 1)
	s.members[0].Load.InFlight.Store(5)
	s.members[1].Load.InFlight.Store(1)
	if got := shares(s, RandomTwo, 1000); got[0] < 990 {
		t.Errorf("5 of weight 9 beside 1 of weight 1: picked %v", got)
	}
}

func TestReduce(t *testing.T) {
	for _, test := range []struct {
		in   []int
		want string
	}{
		{[]int{2, 4, 6}, "[1 2 3] 6"},
		{[]int{3, 7}, "[3 7] 10"},
		{[]int{1000, 1000}, "[1 1] 2"},
		{nil, "[] 0"},
	} {
		reduced, total := reduce(test.in)
		if got := fmt.Sprint(reduced, total); got != test.want {
			t.Errorf("reduce(%v) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestPolicyNames(t *testing.T) {
	for p := range Policy(len(policies)) {
		var read Policy
		if err := read.UnmarshalText([]byte(p.String())); err != nil || read != p {
			t.Errorf("%s is read as %v (%v)", p, read, err)
		}
	}
	for _, name := range []string{"", "fastest", "Random", "random "} {
		p := IPHash
		err := p.UnmarshalText([]byte(name))
		if err == nil || err.Error() != "one of round_robin, least_requests, random_two, random, ip_hash, latency, hash" || p != IPHash {
			t.Errorf("%q is read as %v (%v)", name, p, err)
		}
	}
}
