package limiter

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Limited is a client with rejected requests.
type Limited struct {
	Client     string // address, IPv6 network, range or name; "unknown" without an address
	Registered bool   // the client is registered now
	Shadow     bool   // the requests were admitted, as its limit is not enforced
	Rejections int64  // in the last 55 to 60 seconds, at least
	Limit      Limit  // of the registered client, with Terms.Each for each address; else that of the unregistered
}

const (
	rejectionSets  = 256 // a power of two
	rejectionSlots = 8
	rejectionSpans = 12
	rejectionSpan  = 5 * time.Second // all spans make a minute
)

// rejections counts the rejections of the last 55 to 60 seconds by client, in a fixed amount of
// memory. It holds 2,048 clients; of more, it tends to hold those rejected most. A client that it
// does not hold replaces the one of eight with the fewest rejections, n, with a probability of 1 in
// n+1, and its count starts at 1 (randomized admission: Ben Basat, Einziger, Friedman, Kassner:
// Randomized admission policy for efficient top-k, frequency, and volume estimation, 2017). Counts
// may therefore be too small. They are never too large, except by requests that count while a slot
// changes hands.
//
// It is safe for concurrent use, without locks. Only requests over their limit use it. The zero
// value is empty.
type rejections struct{ sets [rejectionSets]rejectionSet }

// rejectionSet holds the clients whose marks have the same remainder.
type rejectionSet struct {
	marks [rejectionSlots]atomic.Uint64 // 0: free; sealed: about to change hands
	slots [rejectionSlots]rejectionSlot
}

type rejectionSlot struct {
	named  atomic.Pointer[named] // nil if the address identifies the client
	hi, lo atomic.Uint64         // of the address
	exact  atomic.Bool           // the address itself was registered
	spans  [rejectionSpans]atomic.Uint64
}

// A span has its number since the start, from 1, in the upper half, and its rejections below.
const oneSpan = 1 << 32

// add counts a rejection of an unregistered client, or of a named one.
func (r *rejections) add(mark uint64, a address, client *named, now int64) {
	r.count(mark, a, client, false, now)
}

// addRegistered counts a rejection of a registered client.
func (r *rejections) addRegistered(l *Limiter, a address, client *named, now int64) {
	if client != nil {
		r.count(l.mark(client), address{}, client, false, now)
		return
	}
	// The mark differs from that of the unregistered client of the address.
	r.count(key(^l.secret.hash(a)), a, nil, true, now)
}

func (r *rejections) count(mark uint64, a address, client *named, exact bool, now int64) {
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
		return // another client takes the slot
	}
	set.slots[i].begin(a, client, exact, span)
	set.marks[i].Store(mark)
}

// fewest returns the slot with the fewest rejections, and their number.
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
		if n/oneSpan >= span { // later if another request has read a later time
			counter.Add(1)
			return
		}
		if counter.CompareAndSwap(n, span*oneSpan+1) {
			return
		}
	}
}

// begin gives the slot to another client, with its first rejection.
func (s *rejectionSlot) begin(a address, client *named, exact bool, span uint64) {
	for i := range s.spans {
		s.spans[i].Store(0)
	}
	s.named.Store(client)
	s.hi.Store(a.hi)
	s.lo.Store(a.lo)
	s.exact.Store(exact)
	s.add(span)
}

// sum returns the rejections in the minute that ends with the span.
func (s *rejectionSlot) sum(span uint64) (n uint64) {
	for i := range s.spans {
		if c := s.spans[i].Load(); c/oneSpan+rejectionSpans > span {
			n += c % oneSpan
		}
	}
	return n
}

// Limited returns at most n of the clients rejected in the last minute, those with the most
// rejections first, and those with the same number in order of Client; n must not be negative. When
// more than 2,048 clients are rejected, those rejected seldom may be missing, and counts may be too
// small.
func (l *Limiter) Limited(n int) []Limited {
	return l.limited(n, l.since(time.Now()))
}

func (l *Limiter) limited(n int, now int64) []Limited {
	// A client has several slots if two requests took them at once, or if it was registered again.
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
			c, n := l.describe(mark, s), int64(s.sum(span))
			if n > 0 && set.marks[j].Load() == mark { // else it changed hands meanwhile
				same := identity{c.Client, c.Registered}
				c.Rejections = found[same].Rejections + n
				found[same] = c
			}
		}
	}
	all := make([]Limited, 0, len(found))
	for _, c := range found {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Limited) int {
		return cmp.Or(cmp.Compare(b.Rejections, a.Rejections), cmp.Compare(a.Client, b.Client))
	})
	return all[:min(n, len(all))]
}

// describe returns the client that holds the slot with the mark.
func (l *Limiter) describe(mark uint64, s *rejectionSlot) Limited {
	addr := address{s.hi.Load(), s.lo.Load()}.addr()
	switch named, exact := s.named.Load(), s.exact.Load(); {
	case named != nil:
		return l.describeID(named.id())
	case !exact && mark == key(Client{}.hash): // by the address it could be ::1, in the network ::/64
		return l.describeUnregistered("unknown")
	case exact || addr.Is4():
		return l.describeID(ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())})
	}
	return l.describeID(ID{Prefix: netip.PrefixFrom(addr, l.ipv6Prefix)})
}

// describeID returns the client as it is now: it may have been registered or deleted since its requests
// were rejected.
func (l *Limiter) describeID(id ID) Limited {
	l.registering.Lock()
	defer l.registering.Unlock()
	b := l.current(id)
	if b == nil {
		return l.describeUnregistered(id.String())
	}
	terms := &b.plan.terms
	return Limited{Client: id.String(), Registered: true, Shadow: terms.Shadow, Limit: terms.Limit}
}

func (l *Limiter) describeUnregistered(client string) Limited {
	t := l.anonymous.Load()
	return Limited{Client: client, Shadow: t.shadow.Load(), Limit: t.rates.limit()}
}
