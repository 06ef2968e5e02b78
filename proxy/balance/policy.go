package balance

import (
	"errors"
	"math"
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
	Hash                        // the same member for a key, unless it has more than its share in flight
)

// policies holds each policy's name in the config and its function.
var policies = [...]struct {
	name string
	pick func(s *Set, r Request) int
}{
	RoundRobin:    {"round_robin", roundRobin},
	LeastRequests: {"least_requests", leastRequests},
	RandomTwo:     {"random_two", randomTwo},
	Random:        {"random", random},
	IPHash:        {"ip_hash", ipHash},
	Latency:       {"latency", latency},
	Hash:          {"hash", hash},
}

// Request is what policies go by beside the set.
type Request struct {
	Key    uint64        // stands for the client or for a part of the request: what IPHash and Hash go by
	Now    time.Duration // the time of the set's loads, see Load; may be some milliseconds ago
	Random uint64        // a random number that is used for nothing else, where the policy draws
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

// ByKey reports whether the policy goes by the request's key.
func (p Policy) ByKey() bool { return p == IPHash || p == Hash }

// Draws reports whether the policy needs a random number.
func (p Policy) Draws() bool { return p == RandomTwo || p == Random || p == Latency }

// roundRobin gives each member turns in proportion to its weight, spread evenly over the round.
func roundRobin(s *Set, _ Request) int {
	turn := s.turn.Add(1) - 1
	return int(s.schedule[turn%uint64(len(s.schedule))])
}

// maxCompared is the most members that leastRequests compares: with more, it takes the least loaded
// of the next ones, so that a pick takes the same time with any number.
const (
	maxCompared = 1 << comparedBits

	comparedBits = 4
)

// leastRequests starts its search where round robin would pick, so that ties are shared by weight.
// It takes the least of numbers that are a member's load for its weight and, below that, its place
// in the search, which a processor does without a branch.
func leastRequests(s *Set, r Request) int {
	start := roundRobin(s, r)
	least, at := int64(math.MaxInt64), start
	for place := range int64(min(len(s.members), maxCompared)) {
		l := s.members[at].Load
		load := l.InFlight.Load() * oneRequest
		if !l.failures.isZero() {
			load += l.failed(r.Now)
		}
		least = min(least, min(load, maxLoad)*s.inverse[at]<<comparedBits|place)
		if at++; at == len(s.members) {
			at = 0
		}
	}
	if at = start + int(least&(maxCompared-1)); at >= len(s.members) {
		at -= len(s.members)
	}
	return at
}

// Loads times weights fit into 64 bits together with a place.
const (
	inverseBits = 24
	maxLoad     = 1<<(63-inverseBits-comparedBits) - 1
)

// randomTwo follows Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
func randomTwo(s *Set, r Request) int {
	a, b := s.drawTwo(r.Random)
	x, y := &s.members[a], &s.members[b]
	if y.Load.requests(r.Now)*int64(x.Weight) < x.Load.requests(r.Now)*int64(y.Weight) {
		a = b
	}
	return a
}

// latency is randomTwo where the response times of the two are alike, and otherwise picks the one
// at which another request would cost less: the response time, times the requests with this one for
// the weight. This is peak EWMA as in Finagle, see Load.Answered. Alike are times of which neither
// is twice the other: if a little counted, idle members that differ by a little would get very
// different shares.
func latency(s *Set, r Request) int {
	a, b := s.drawTwo(r.Random)
	x, y := &s.members[a], &s.members[b]
	n, t := x.Load.standing(r.Now)
	m, u := y.Load.standing(r.Now)
	alike, one := max(t, u) < 2*min(t, u), int64(oneRequest)
	// One variable at a time, so that the processor need not guess.
	if alike {
		one = 0
	}
	if alike {
		t = 1
	}
	if alike {
		u = 1
	}
	if float64(u)*float64(m+one)*float64(x.Weight) < float64(t)*float64(n+one)*float64(y.Weight) {
		a = b
	}
	return a
}

func random(s *Set, r Request) int { return s.scheduled(uint32(r.Random)) }

// drawTwo returns two random members, by weight. They are different ones, unless hardly any other
// than the first is ever drawn.
func (s *Set) drawTwo(random uint64) (a, b int) {
	n := uint64(len(s.schedule))
	turn := random & lower32 * n >> 32
	a = int(s.schedule[turn])
	for range 5 {
		other := turn + 1 + random>>32*(n-1)>>32 // another turn, whose member may be the same
		if other >= n {
			other -= n
		}
		if b = int(s.schedule[other]); b != a {
			break
		}
		random = mix(random + golden)
	}
	return a, b
}

const lower32 = 1<<32 - 1

// scheduled returns the member of the turn that a random number stands for. With at most 32,000
// turns, what a turn may be more likely than another does not matter.
func (s *Set) scheduled(r uint32) int {
	return int(s.schedule[uint64(r)*uint64(len(s.schedule))>>32])
}
