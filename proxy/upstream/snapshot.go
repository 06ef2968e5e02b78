package upstream

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/balance"
)

// snapshot holds the backends of a pool that serve requests now. It is immutable.
type snapshot struct {
	policy   balance.Policy
	backends []*Backend       // those that take new requests
	members  []balance.Member // the same, in the same order
	set      *balance.Set     // of the members
	spare    []*Backend       // those of a higher rank, by rank
	named    map[token]*Backend
	trials   []*Backend // where there are no backends: those that may be tried, see trial
	panics   bool       // see available
}

// choose returns which of the backends that are available serve which requests. New ones go to
// those with a weight, and of these to the lowest rank. Clients whose cookie names a backend of
// rank 0 go on there, whatever its weight, and where it is drained.
func choose(available, drained []*Backend) *snapshot {
	s := &snapshot{named: map[token]*Backend{}}
	var serving []*Backend
	for _, b := range available {
		switch {
		case b.weight > 0:
			serving = append(serving, b)
		case b.rank == 0:
			s.name(b)
		}
	}
	s.backends, s.spare = firstRank(serving)
	for _, b := range drained {
		s.name(b)
	}
	for _, b := range s.backends {
		s.name(b)
	}
	return s
}

// firstRank returns the backends of the lowest rank, and the others by rank.
func firstRank(backends []*Backend) (first, spare []*Backend) {
	sorted := slices.Clone(backends)
	slices.SortStableFunc(sorted, func(a, b *Backend) int { return cmp.Compare(a.rank, b.rank) })
	n := 0
	for n < len(sorted) && sorted[n].rank == sorted[0].rank {
		n++
	}
	return sorted[:n], sorted[n:]
}

// name lets clients go on at a backend.
func (s *snapshot) name(b *Backend) {
	if c := b.cookie.Load(); c != nil {
		s.named[c.token] = b
	}
}

// keeps reports whether clients go on at a backend.
func (s *snapshot) keeps(b *Backend) bool {
	c := b.cookie.Load()
	return c != nil && s.named[c.token] == b
}

// at returns the backend that a cookie names, or nil.
func (s *snapshot) at(cookie []byte) *Backend {
	if len(cookie) != len(token{}) {
		return nil
	}
	return s.named[token(cookie)]
}

// having returns the backend that serves requests over these connections, or nil.
func (s *snapshot) having(c *conns) *Backend {
	for _, all := range [...][]*Backend{s.backends, s.spare} {
		for _, b := range all {
			if &b.conns == c {
				return b
			}
		}
	}
	for _, b := range s.named {
		if &b.conns == c {
			return b
		}
	}
	return nil
}

// weigh gives the policy its members, with the weights of the backends.
func (s *snapshot) weigh(p balance.Policy, weights []int, turn *atomic.Uint64) {
	s.policy = p
	for i, b := range s.backends {
		s.members = append(s.members, balance.Member{Weight: weights[i], Hash: b.hash, Load: &b.load})
	}
	s.set = balance.NewSet(p, s.members, turn)
}

// pick has the policy pick from a set of the snapshot's backends.
func (s *snapshot) pick(set *balance.Set, key uint64, now time.Time) int {
	r := balance.Request{Key: key, Now: loadTime(now)}
	if s.policy.Draws() {
		r.Random = rand.Uint64()
	}
	return set.Pick(r)
}

// next returns the first backend, starting with the picked one, that the request has not tried and
// that is not full, then one of a higher rank, or nil if there is none.
func (s *snapshot) next(picked int, t *Tried) *Backend {
	for i := range s.backends {
		if b := s.backends[(picked+i)%len(s.backends)]; !t.has(b) && !b.full() {
			return b
		}
	}
	for _, b := range s.spare {
		if !t.has(b) && !b.full() {
			return b
		}
	}
	return nil
}

// hasUntried reports whether there is a backend that the request has not tried, be it full or not.
func (s *snapshot) hasUntried(t *Tried) bool {
	untried := func(b *Backend) bool { return !t.has(b) }
	return slices.ContainsFunc(s.backends, untried) || slices.ContainsFunc(s.spare, untried)
}
