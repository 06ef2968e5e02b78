// Package balance chooses one of several members by a policy, from their weights, their loads, and
// a key that stands for the client.
//
// A pick is a function of the set, the request and the loads: it knows no clock and no dice. It
// takes no lock and allocates nothing; everything else may. Over time each member gets its share by
// weight, and IPHash gives a key the same member in every process.
//
// The package knows neither backends nor health: a Set holds the members that take requests now,
// and is rebuilt when that changes.
package balance

import (
	"math"
	"sync/atomic"
)

// Member is one of the candidates of a policy.
type Member struct {
	Weight int    // share of the requests, at least 1
	Hash   uint64 // stands for the member in every process, see StringKey
	Load   *Load  // counted by the caller
}

// Set holds the members that a policy chooses from, identified by index. Its members do not change, and it is safe
// for concurrent use. It takes at most 32 KiB in addition to the members and 8 bytes for each, and 128 KiB where the
// policy goes by keys.
type Set struct {
	pick     func(s *Set, r Request) int
	members  []Member
	schedule []uint16 // indexes of members, in the order of their turns
	owners   []uint16 // indexes of members, by slot; nil unless the policy goes by keys
	inverse  []int64  // of each member's weight, times 1<<inverseBits
	weight   int      // of all members
	turn     *atomic.Uint64
	total    atomic.Uint64 // the last sum of inFlight, packed
}

// NewSet returns a set of the members, which may be empty, for a policy. The caller owns turn, the
// position of round robin, so that a new set continues where the previous one stopped.
func NewSet(p Policy, members []Member, turn *atomic.Uint64) *Set {
	s := &Set{pick: policies[p].pick, members: members, turn: turn}
	weights := make([]int, len(members))
	for i, m := range members {
		weights[i] = m.Weight
		s.weight += m.Weight
		s.inverse = append(s.inverse, 1<<inverseBits/int64(m.Weight))
	}
	s.schedule = smoothSchedule(weights)
	if p.ByKey() {
		s.owners = assignSlots(members)
	}
	return s
}

// Pick returns the index of a member, by the policy. The set must not be empty.
func (s *Set) Pick(r Request) int { return s.pick(s, r) }

// maxSchedule is the most turns in a round, whatever the sum of the weights. Rounding may add one
// turn per member.
const maxSchedule = 16384

// smoothSchedule lays out one round, in which index i occurs weights[i] times, spread as evenly as
// possible: the smooth weighted round robin of nginx, unrolled, so that a turn is an atomic counter
// and needs no lock.
func smoothSchedule(weights []int) []uint16 {
	weights, total := reduce(weights)
	current := make([]int, len(weights))
	schedule := make([]uint16, 0, total)
	for range total {
		best := 0
		for i, w := range weights {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		schedule = append(schedule, uint16(best))
	}
	return schedule
}

// reduce divides the weights by their common divisor, and scales them down if their sum still
// exceeds maxSchedule.
func reduce(weights []int) (reduced []int, total int) {
	divisor := 0
	for _, w := range weights {
		divisor = gcd(w, divisor)
		total += w
	}
	if divisor == 0 {
		return nil, 0
	}
	scale := float64(divisor)
	if total/divisor > maxSchedule {
		scale = float64(total) / maxSchedule
	}
	total = 0
	for _, w := range weights {
		r := max(1, int(math.Round(float64(w)/scale)))
		reduced = append(reduced, r)
		total += r
	}
	return reduced, total
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
