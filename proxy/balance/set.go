// Package balance chooses one of several members by a policy: over their weights, the requests that
// each has in flight, and a key that stands for the client. It knows neither backends nor health: a
// Set holds those members that take requests now, and is built anew when that changes.
//
// Picking takes no lock and allocates nothing. All else may.
package balance

import (
	"math"
	"sync/atomic"
)

// Member is one of those that a policy chooses from.
type Member struct {
	Weight   int           // share of the requests, at least 1
	Hash     uint64        // stands for the member in every process, see StringKey
	InFlight *atomic.Int64 // requests under way, counted by the caller
}

// Set holds the members that a policy chooses from, which are known by their index. It is never
// changed, and safe for concurrent use. It takes at most 32 KiB beside the members.
type Set struct {
	members  []Member
	schedule []uint16 // indexes of members in weighted turn
	even     bool     // all weights are equal
	turn     *atomic.Uint64
}

// NewSet returns a set of the members, of which there may be none. The turn of round robin is the
// caller's, so that it goes on where the set before has stopped.
func NewSet(members []Member, turn *atomic.Uint64) *Set {
	s := &Set{members: members, turn: turn, even: true}
	weights := make([]int, len(members))
	for i, m := range members {
		weights[i] = m.Weight
		s.even = s.even && m.Weight == members[0].Weight
	}
	s.schedule = smoothSchedule(weights)
	return s
}

// Len returns the number of members.
func (s *Set) Len() int { return len(s.members) }

// maxSchedule bounds the length of a round, whatever the weights add up to. Rounding may add one turn
// a member.
const maxSchedule = 16384

// smoothSchedule lays out one round in which index i stands weights[i] times, as evenly spread as
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

// reduce divides the weights by their common divisor, and scales them down where their sum would
// still pass maxSchedule.
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
