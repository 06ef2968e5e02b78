package limiter

import (
	"hash/maphash"
	"sync/atomic"
)

// names finds the accounts of named clients, by open addressing with linear probing: 11 to 22 bytes
// for each, where a map of strings takes three times as much. Limiter.registering guards it, except
// for size.
type names struct {
	seed  maphash.Seed
	slots []*account // a power of two; at most three quarters are taken
	size  atomic.Int64
}

const leastNames = 16

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), slots: make([]*account, leastNames)}
}

// get returns the account of the client, or nil.
func (s *names) get(name string) *account { return s.slots[s.find(name)] }

// add adds the account of a client that is not there.
func (s *names) add(a *account) {
	s.size.Add(1)
	if 4*int(s.size.Load()) > 3*len(s.slots) {
		old := s.slots
		s.slots = make([]*account, 2*len(old))
		for _, a := range old {
			if a != nil {
				s.slots[s.find(a.named.Load().name)] = a
			}
		}
	}
	s.slots[s.find(a.named.Load().name)] = a
}

// remove removes the account of the client. Those behind it move up, so that no gap hides them.
func (s *names) remove(name string) {
	gap := s.find(name)
	s.slots[gap] = nil
	s.size.Add(-1)
	for i := s.after(gap); s.slots[i] != nil; i = s.after(i) {
		a := s.slots[i]
		s.slots[i] = nil
		s.slots[s.find(a.named.Load().name)] = a
	}
}

// find returns the slot of the client or, if it has none, the free one to use for it.
func (s *names) find(name string) int {
	i := int(maphash.String(s.seed, name)) & (len(s.slots) - 1)
	for s.slots[i] != nil && s.slots[i].named.Load().name != name {
		i = s.after(i)
	}
	return i
}

func (s *names) after(i int) int { return (i + 1) & (len(s.slots) - 1) }
