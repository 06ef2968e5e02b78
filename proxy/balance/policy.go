package balance

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Policy is a way to choose a member. The zero value is RoundRobin.
type Policy uint8

// The policies.
const (
	RoundRobin    Policy = iota // each in turn, by weight
	LeastRequests               // the fewest requests in flight, or failed lately, for its weight
	RandomTwo                   // the less loaded of two, drawn by weight
	Random                      // drawn by weight
	IPHash                      // always the same member for a key, while it is in the set
	Latency                     // of two, drawn by weight, the one where response time and load are less
)

// policies holds each policy's name in the config and its function.
var policies = [...]struct {
	name string
	pick func(s *Set, key uint64, now time.Time) int
}{
	RoundRobin:    {"round_robin", roundRobin},
	LeastRequests: {"least_requests", leastRequests},
	RandomTwo:     {"random_two", randomTwo},
	Random:        {"random", random},
	IPHash:        {"ip_hash", ipHash},
	Latency:       {"latency", latency},
}

// UnmarshalText parses the name of a policy. Its error lists the valid names.
func (p *Policy) UnmarshalText(name []byte) error {
	var names []string
	for i := range policies {
		if policies[i].name == string(name) {
			*p = Policy(i)
			return nil
		}
		names = append(names, policies[i].name)
	}
	return errors.New("one of " + strings.Join(names, ", "))
}

// String returns the policy's name in the config.
func (p Policy) String() string { return policies[p].name }

// Pick returns the index of a member of the set, which must not be empty. The key stands for the
// client; only IPHash uses it. now may be some milliseconds ago.
func (p Policy) Pick(s *Set, key uint64, now time.Time) int { return policies[p].pick(s, key, now) }

// roundRobin gives each member turns in proportion to its weight, spread evenly over the round.
func roundRobin(s *Set, _ uint64, _ time.Time) int {
	turn := s.turn.Add(1) - 1
	return int(s.schedule[turn%uint64(len(s.schedule))])
}

// leastRequests starts its search where round robin would pick, so that ties are shared by weight.
func leastRequests(s *Set, _ uint64, now time.Time) int {
	n := len(s.members)
	start := roundRobin(s, 0, now)
	best, load := start, s.members[start].Load.requests(now)
	for i := 1; i < n; i++ {
		at := start + i
		if at >= n {
			at -= n
		}
		if l := s.members[at].Load.requests(now); s.lighter(at, l, best, load) {
			best, load = at, l
		}
	}
	return best
}

// lighter reports whether member a is less loaded for its weight than b.
func (s *Set) lighter(a int, aLoad int64, b int, bLoad int64) bool {
	return aLoad*int64(s.members[b].Weight) < bLoad*int64(s.members[a].Weight)
}

// randomTwo follows Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
func randomTwo(s *Set, _ uint64, now time.Time) int {
	a, b := s.drawTwo()
	if s.lighter(b, s.members[b].Load.requests(now), a, s.members[a].Load.requests(now)) {
		return b
	}
	return a
}

func random(s *Set, _ uint64, _ time.Time) int { return s.draw() }

// draw returns a random member, by weight.
func (s *Set) draw() int { return s.scheduled(rand.Uint32()) }

// drawTwo returns two random members, by weight. They are different ones, unless hardly any other
// than the first is ever drawn.
func (s *Set) drawTwo() (a, b int) {
	r := rand.Uint64()
	a, b = s.scheduled(uint32(r)), s.scheduled(uint32(r>>32))
	for tries := 0; a == b && tries < 4; tries++ {
		b = s.draw()
	}
	return a, b
}

// scheduled returns the member of the turn that a random number stands for. With at most 32,000
// turns, what a turn may be more likely than another does not matter.
func (s *Set) scheduled(r uint32) int {
	return int(s.schedule[uint64(r)*uint64(len(s.schedule))>>32])
}

// ipHash picks the member whose weighted score with the key is highest (rendezvous hashing; weights
// as in Schindelhauer and Schomaker, 2005). When a member leaves, only its own keys move.
func ipHash(s *Set, key uint64, _ time.Time) int {
	best, top := 0, math.Inf(-1)
	if s.even {
		most := uint64(0)
		for i := range s.members {
			if h := mix(key ^ s.members[i].Hash); h >= most {
				best, most = i, h
			}
		}
		return best
	}
	for i := range s.members {
		m := &s.members[i]
		u := (float64(mix(key^m.Hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := -float64(m.Weight) / math.Log(u); score > top {
			best, top = i, score
		}
	}
	return best
}
