package limiter

import (
	"hash/maphash"
	"sync/atomic"
)

// names finds the accounts of named clients, by open addressing with linear probing: 12 to 24 bytes
// for each, where a map of strings takes three times as much. A tag, which is a part of the hash,
// spares visits to the memory of other clients. Limiter.registering guards it, except for size.
type names struct {
	seed  maphash.Seed
	slots []*account // a power of two; at most three quarters are taken
	tags  []uint8    // of the accounts; 0: free
	size  atomic.Int64
}

const leastNames = 16

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), slots: make([]*account, leastNames), tags: make([]uint8, leastNames)}
}

// get returns the account of the client, or nil.
func (s *names) get(name string) *account {
	i, _ := s.find(name)
	return s.slots[i]
}

// add adds the account of a client that is not there.
func (s *names) add(a *account) {
	s.size.Add(1)
	if 4*int(s.size.Load()) > 3*len(s.slots) {
		old := s.slots
		s.slots, s.tags = make([]*account, 2*len(old)), make([]uint8, 2*len(old))
		for _, a := range old {
			if a != nil {
				s.put(a)
			}
		}
	}
	s.put(a)
}

func (s *names) put(a *account) {
	i, tag := s.find(a.named.Load().name)
	s.slots[i], s.tags[i] = a, tag
}

// remove removes the account of the client. Those behind it move up, so that no gap hides them.
func (s *names) remove(name string) {
	i, _ := s.find(name)
	s.take(i)
	s.size.Add(-1)
	for i = s.after(i); s.tags[i] != 0; i = s.after(i) {
		s.put(s.take(i))
	}
}

func (s *names) take(i int) *account {
	a := s.slots[i]
	s.slots[i], s.tags[i] = nil, 0
	return a
}

// find returns the slot of the client or, if it has none, the free one to use for it, and its tag.
func (s *names) find(name string) (i int, tag uint8) {
	h := maphash.String(s.seed, name)
	i, tag = int(h)&(len(s.slots)-1), uint8(h>>57)|0x80
	for s.tags[i] != 0 && (s.tags[i] != tag || s.slots[i].named.Load().name != name) {
		i = s.after(i)
	}
	return i, tag
}

func (s *names) after(i int) int { return (i + 1) & (len(s.slots) - 1) }
