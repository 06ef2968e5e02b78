package proxy

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
)

// snapshot is the state of a pool that picks are made from: the backends that
// take requests now. It is built whole and never changed, but for the turn.
type snapshot struct {
	backends []*backend
	schedule []uint16 // indexes of backends in weighted turn
	even     bool     // all weights are equal
	turn     *atomic.Uint64
}

// policy picks one backend out of a snapshot that has at least one. key is a hash
// of the client's address. A policy allocates nothing and takes no lock.
type policy func(s *snapshot, key uint64) *backend

// policies is the one table of balancing policies, by the name in the config.
var policies = map[string]policy{
	"round_robin":    roundRobin,
	"least_requests": leastRequests,
	"random_two":     randomTwo,
	"random":         random,
	"ip_hash":        ipHash,
}

func policyNames() []string {
	names := make([]string, 0, len(policies))
	for name := range policies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// roundRobin gives each backend its turns in proportion to its weight, spread
// evenly over the round.
func roundRobin(s *snapshot, _ uint64) *backend {
	turn := s.turn.Add(1) - 1
	return s.backends[s.schedule[turn%uint64(len(s.schedule))]]
}

// leastRequests picks the backend with the fewest requests in flight for its
// weight. The search starts where it would be round robin's turn, so that ties are
// shared by weight.
func leastRequests(s *snapshot, _ uint64) *backend {
	n := len(s.backends)
	start := int(s.schedule[(s.turn.Add(1)-1)%uint64(len(s.schedule))])
	best := s.backends[start]
	load := best.inFlight.Load()
	for i := 1; i < n; i++ {
		at := start + i
		if at >= n {
			at -= n
		}
		b := s.backends[at]
		if l := b.inFlight.Load(); lighter(b, l, best, load) {
			best, load = b, l
		}
	}
	return best
}

// lighter reports whether backend a is less loaded for its weight than b.
func lighter(a *backend, aLoad int64, b *backend, bLoad int64) bool {
	return aLoad*int64(b.weight) < bLoad*int64(a.weight)
}

// randomTwo draws two backends by weight and picks the less loaded (Mitzenmacher,
// "The Power of Two Choices in Randomized Load Balancing", 2001).
func randomTwo(s *snapshot, key uint64) *backend {
	a, b := random(s, key), random(s, key)
	for tries := 0; a == b && tries < 4; tries++ {
		b = random(s, key)
	}
	if lighter(b, b.inFlight.Load(), a, a.inFlight.Load()) {
		return b
	}
	return a
}

// random draws a backend by weight.
func random(s *snapshot, _ uint64) *backend {
	return s.backends[s.schedule[rand.Uint64N(uint64(len(s.schedule)))]]
}

// ipHash sends a client to the same backend as long as that one lives: the highest
// of the weighted scores that client and backend have together (rendezvous
// hashing; weights as in Schindelhauer and Schomaker, 2005). When a backend goes,
// only its own clients move.
func ipHash(s *snapshot, key uint64) *backend {
	best, top := s.backends[0], math.Inf(-1)
	if s.even {
		most := uint64(0)
		for _, b := range s.backends {
			if h := mix(key ^ b.hash); h >= most {
				best, most = b, h
			}
		}
		return best
	}
	for _, b := range s.backends {
		u := (float64(mix(key^b.hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := -float64(b.weight) / math.Log(u); score > top {
			best, top = b, score
		}
	}
	return best
}

// addrKey hashes an address for ipHash. It has no seed: every instance sends a
// client to the same backend.
func addrKey(a netip.Addr) uint64 {
	b := a.As16()
	var hi, lo uint64
	for i := range 8 {
		hi = hi<<8 | uint64(b[i])
		lo = lo<<8 | uint64(b[i+8])
	}
	return mix(mix(hi) + lo)
}

// stringKey hashes a backend's address for ipHash (FNV-1a, then mixed).
func stringKey(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of splitmix64 (Steele, Lea and Flood, 2014): every bit of
// the result depends on every bit of x.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// maxSchedule bounds the length of a round, whatever the weights add up to. Rounding
// may add one turn a backend.
const maxSchedule = 16384

// newSnapshot makes a snapshot of the backends given, which may be none.
func newSnapshot(backends []*backend, turn *atomic.Uint64) *snapshot {
	s := &snapshot{backends: backends, turn: turn, even: true}
	weights := make([]int, len(backends))
	for i, b := range backends {
		weights[i] = b.weight
		s.even = s.even && b.weight == backends[0].weight
	}
	s.schedule = smoothSchedule(weights)
	return s
}

// smoothSchedule lays out one round in which index i stands weights[i] times, as
// evenly spread as may be: the smooth weighted round robin of nginx, unrolled, so
// that a turn is an atomic counter and needs no lock.
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

// reduce divides the weights by their common divisor, and scales them down where
// their sum would still pass maxSchedule.
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

// maxAttempts bounds the tries of one request, and so what triedSet has to hold.
const maxAttempts = 16

// triedSet holds the backends that one request has tried.
type triedSet struct {
	backends [maxAttempts]*backend
	n        int
}

func (t *triedSet) add(b *backend) {
	t.backends[t.n] = b
	t.n++
}

func (t *triedSet) has(b *backend) bool {
	return slices.Contains(t.backends[:t.n], b)
}

// untried finds the first backend from the picked one on that the request has not
// tried; nil when there is none.
func (s *snapshot) untried(picked *backend, t *triedSet) *backend {
	if t.n == 0 {
		return picked
	}
	start := slices.Index(s.backends, picked)
	for i := range s.backends {
		if b := s.backends[(start+i)%len(s.backends)]; !t.has(b) {
			return b
		}
	}
	return nil
}
