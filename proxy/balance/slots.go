package balance

import "time"

// The keys are divided into slots, each of which belongs to one member, so that finding the member
// of a key takes one look into a table, however many members there are.
const (
	slotBits = 16
	slots    = 1 << slotBits
)

// assignSlots gives each slot to a member, by weight. Every member visits slots in an order and at
// times that depend on nothing but its hash and its weight, and a slot belongs to the member that
// visits it first. So a member that leaves, or loses weight, gives up slots of its own, and no slot
// moves between two that stay as they are. It takes some milliseconds.
//
// This is rendezvous hashing (Thaler and Ravishankar, 1998) of slots, where the scores are found in
// order: a slot's highest score is its first visit.
func assignSlots(members []Member) []uint16 {
	if len(members) == 0 {
		return nil
	}
	total := 0
	visits := make([]visit, len(members))
	for i := range members {
		visits[i] = firstVisit(&members[i])
		total += members[i].Weight
	}
	owners, first := make([]uint16, slots), make([]float64, slots)
	// As long as all members together take for as many visits as there are slots.
	step := slots / float64(total)
	for until, free := step, slots; free > 0; until += step {
		for i := range visits {
			for v := &visits[i]; v.at < until; v.next() {
				slot := v.slot()
				switch {
				case first[slot] == 0:
					free--
				case first[slot] <= v.at:
					continue
				}
				first[slot], owners[slot] = v.at, uint16(i)
			}
		}
	}
	return owners
}

// visit is a visit of a member to a slot.
type visit struct {
	at     float64 // never 0
	n      float64 // of visits before
	phase  float64 // part of the time between two visits, above 0 and up to 1
	weight float64 // visits per unit of time
	random uint64  // the state of splitmix64
}

func firstVisit(m *Member) visit {
	v := visit{weight: float64(m.Weight), random: m.Hash, phase: float64(mix(m.Hash)>>11+1) / (1 << 53)}
	v.at = v.phase / v.weight
	return v
}

func (v *visit) next() {
	v.n++
	v.at = (v.n + v.phase) / v.weight
	v.random += golden
}

func (v *visit) slot() uint64 { return mix(v.random) >> (64 - slotBits) }

// owner returns the member of a key.
func (s *Set) owner(key uint64) int { return int(s.owners[key>>(64-slotBits)]) }

// ipHash never moves a key from a member that is in the set.
func ipHash(s *Set, r Request) int { return s.owner(r.Key) }

// hash moves a key on from a member that has more than its share in flight: consistent hashing with
// bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018). A key's other members are always tried
// in the same order.
func hash(s *Set, r Request) int {
	at := s.owner(r.Key)
	if s.belowAnyBound(at) {
		return at
	}
	total := s.inFlight(r.Now)
	for n := 0; !s.hasRoom(at, total); n++ {
		if n == maxTries {
			return s.nextWithRoom(at, total)
		}
		r.Key = mix(r.Key + golden)
		at = s.owner(r.Key)
	}
	return at
}

const (
	boundedFrom = 10 // requests in flight for each member, from which on loads are bounded
	maxTries    = 16
)

// belowAnyBound reports whether a member may have another request, whatever the others have.
func (s *Set) belowAnyBound(at int) bool {
	return s.mayHave(at, int64(boundedFrom*len(s.members)))
}

// hasRoom reports whether a member may have another request where all have this many in flight.
func (s *Set) hasRoom(at int, total int64) bool {
	return total < int64(boundedFrom*len(s.members)) || s.mayHave(at, total+1)
}

// mayHave reports whether a member, with another request, has at most 1.25 of its share of total,
// rounded up.
func (s *Set) mayHave(at int, total int64) bool {
	m := &s.members[at]
	return 4*m.Load.InFlight.Load()*int64(s.weight) < 5*total*int64(m.Weight)
}

// nextWithRoom returns the first member behind one that may have another request. There is one,
// unless requests begin meanwhile.
func (s *Set) nextWithRoom(at int, total int64) int {
	for i := range s.members {
		if next := (at + i) % len(s.members); s.hasRoom(next, total) {
			return next
		}
	}
	return at
}

// inFlight returns the requests in flight at all members. With many members it adds them up every 4
// ms at most, and so may be as old as that.
func (s *Set) inFlight(now time.Duration) int64 {
	if len(s.members) <= maxCompared {
		return s.addUp()
	}
	at := instantOf(now)
	if total, of := unpack(s.total.Load()); total > 0 && of >= at {
		return int64(total)
	}
	total := s.addUp()
	s.total.Store(pack(uint64(min(total, maxValue)), at))
	return total
}

func (s *Set) addUp() (total int64) {
	for i := range s.members {
		total += s.members[i].Load.InFlight.Load()
	}
	return total
}
