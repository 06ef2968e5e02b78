package limiter

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Limited is a client that gets rejected.
type Limited struct {
	Client     string // the address, the IPv6 network, the range or the name; "unknown" without an address
	Registered bool
	Shadow     bool  // it is not rejected, but would be were its limit enforced
	Rejections int64 // in the last minute, at least
}

const (
	rejectionSets  = 256 // a power of two
	rejectionSlots = 8
	rejectionSpans = 12
	rejectionSpan  = 5 * time.Second // so that all spans are a minute
)

// rejections counts the rejections of the last 55 to 60 seconds by client, in a memory that does
// not grow: of those who are rejected it holds 2,048, and among more tends to hold those who are
// rejected most. A client that it does not hold takes the place of the one with the fewest rejections
// of eight, n, with a probability of 1 in n+1 (randomized admission: Ben Basat, Einziger, Friedman,
// Kassner: Randomized admission policy for efficient top-k, frequency, and volume estimation, 2017).
// It starts at 1 then, so that counts may be too small, but are never too large.
//
// It is safe for concurrent use, and nobody waits. Requests that are within their limit do not come
// here. The zero value is empty.
type rejections struct{ sets [rejectionSets]rejectionSet }

// rejectionSet holds the clients whose marks begin alike.
type rejectionSet struct {
	marks [rejectionSlots]atomic.Uint64 // 0: free; sealed: about to be another's
	slots [rejectionSlots]rejectionSlot
}

type rejectionSlot struct {
	named  atomic.Pointer[named] // nil: the address says who it is
	hi, lo atomic.Uint64         // of the address
	exact  atomic.Bool           // the address was registered
	spans  [rejectionSpans]atomic.Uint64
}

// A span is its number since the start, from 1, in the upper half, and the rejections within.
const oneSpan = 1 << 32

// add counts a rejection of an unregistered client, or of who is named.
func (r *rejections) add(mark uint64, a address, who *named, now int64) {
	r.count(mark, a, who, false, now)
}

// addRegistered counts a rejection of a registered client.
func (r *rejections) addRegistered(l *Limiter, a address, who *named, now int64) {
	if who != nil {
		r.count(key(who.mark), address{}, who, false, now)
		return
	}
	r.count(key(^l.secret.hash(a)), a, nil, true, now) // not the mark of the unregistered client of the address
}

func (r *rejections) count(mark uint64, a address, who *named, exact bool, now int64) {
	span := uint64(now/int64(rejectionSpan)) + 1
	set := &r.sets[mark%rejectionSets]
	for i := range set.marks {
		if set.marks[i].Load() == mark {
			set.slots[i].add(span)
			return
		}
	}
	i, fewest := set.fewest(span)
	if fewest > 0 && rand.Uint64N(fewest+1) > 0 {
		return
	}
	before := set.marks[i].Load()
	if before == sealed || !set.marks[i].CompareAndSwap(before, sealed) {
		return // another takes it
	}
	set.slots[i].begin(a, who, exact, span)
	set.marks[i].Store(mark)
}

// fewest returns the slot with the fewest rejections, and how many these are.
func (s *rejectionSet) fewest(span uint64) (slot int, n uint64) {
	for i := range s.slots {
		m := uint64(0)
		if s.marks[i].Load() != 0 {
			m = s.slots[i].sum(span)
		}
		if i == 0 || m < n {
			slot, n = i, m
		}
	}
	return slot, n
}

// add counts a rejection in the span.
func (s *rejectionSlot) add(span uint64) {
	counter := &s.spans[span%rejectionSpans]
	for {
		n := counter.Load()
		if n/oneSpan >= span { // later, if the request's time was read earlier than another's
			counter.Add(1)
			return
		}
		if counter.CompareAndSwap(n, span*oneSpan+1) {
			return
		}
	}
}

// begin gives the slot to another client, at its first rejection.
func (s *rejectionSlot) begin(a address, who *named, exact bool, span uint64) {
	for i := range s.spans {
		s.spans[i].Store(0)
	}
	s.named.Store(who)
	s.hi.Store(a.hi)
	s.lo.Store(a.lo)
	s.exact.Store(exact)
	s.add(span)
}

// sum returns the rejections in the span and those before it that make a minute.
func (s *rejectionSlot) sum(span uint64) (n uint64) {
	for i := range s.spans {
		if c := s.spans[i].Load(); c/oneSpan+rejectionSpans > span {
			n += c % oneSpan
		}
	}
	return n
}

// Limited returns at most n of the clients that were rejected in the last minute, those with most
// rejections first. When more than 2,048 are, a client that is rejected seldom may be missing, and
// counts may be too small.
func (l *Limiter) Limited(n int) []Limited {
	return l.limited(n, l.since(time.Now()))
}

func (l *Limiter) limited(n int, now int64) []Limited {
	// A client has several slots if two requests took them at once, or if it was registered anew.
	type identity struct {
		client     string
		registered bool
	}
	span := uint64(now/int64(rejectionSpan)) + 1
	found := make(map[identity]Limited)
	for i := range l.rejected.sets {
		set := &l.rejected.sets[i]
		for j := range set.slots {
			mark := set.marks[j].Load()
			if mark == 0 || mark == sealed {
				continue
			}
			s := &set.slots[j]
			who, n := l.describe(mark, s), int64(s.sum(span))
			if n > 0 && set.marks[j].Load() == mark { // else it has become another's meanwhile
				same := identity{who.Client, who.Registered}
				who.Rejections = found[same].Rejections + n
				found[same] = who
			}
		}
	}
	all := make([]Limited, 0, len(found))
	for _, who := range found {
		all = append(all, who)
	}
	slices.SortFunc(all, func(a, b Limited) int {
		return cmp.Or(cmp.Compare(b.Rejections, a.Rejections), cmp.Compare(a.Client, b.Client))
	})
	return all[:min(n, len(all))]
}

// describe tells who holds the slot with the mark.
func (l *Limiter) describe(mark uint64, s *rejectionSlot) Limited {
	addr := address{s.hi.Load(), s.lo.Load()}.addr()
	switch who := s.named.Load(); {
	case who != nil:
		return l.describeRegistered(who.id)
	case s.exact.Load():
		return l.describeRegistered(ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())})
	case mark == key(Client{}.hash): // by the address it could be ::1, in the network ::/64
		return Limited{Client: "unknown", Shadow: l.shadow}
	case addr.Is4():
		return Limited{Client: addr.String(), Shadow: l.shadow}
	}
	return Limited{Client: ID{Prefix: netip.PrefixFrom(addr, l.ipv6Prefix)}.String(), Shadow: l.shadow}
}

func (l *Limiter) describeRegistered(id ID) Limited {
	l.registering.Lock()
	defer l.registering.Unlock()
	who := Limited{Client: id.String()}
	if b := l.current(id); b != nil {
		who.Registered, who.Shadow = true, b.plan.terms.Shadow
	}
	return who
}
