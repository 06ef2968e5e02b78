package limiter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// clientsPerGroup is how many there are on average once the table is full.
	clientsPerGroup = 11

	overflowBuckets = 1024 // a power of two

	// evictionTries is how many groups are searched for clients to drop. With eight, a table of a million
	// of which nine tenths are in debt sends so many newcomers to the overflow buckets that these run
	// dry, and their debt, taken along, fills the table. With 24 that begins beyond 95 %.
	evictionTries = 24

	// barrenFor is how many newcomers search their own group alone after a search was in vain. The table
	// is full of debtors then, and each such search takes some microseconds.
	barrenFor = 16

	// slotsPerGroup is how many lead to a group at first, and so the most that have to be led elsewhere
	// at once.
	slotsPerGroup = 256
)

// keptFor is how long a client keeps its place after its bucket is full again, while an eighth of all
// places is free: it is likely to come back, and is then at hand.
const keptFor = int64(time.Minute)

// table holds the buckets of unregistered clients, all with one limit, found by a hash of who the
// client is. It holds max of them at most and forgets nothing that matters: it only drops buckets
// that are full again, and such a bucket is like a new one. When it is full of clients in debt,
// newcomers share the overflow buckets, by their hash, and a newcomer that moves from there to a
// bucket of its own takes the debt along.
//
// The hash picks a slot, which leads to a group of clients. At first 256 slots lead to each group; as
// clients come it is split in two, each with half of the slots, and so on (extendible hashing: Fagin,
// Nievergelt, Pippenger, Strong, 1979, with a directory of fixed size). The group's cells lie in the
// group itself, at a place that the hash tells: finding a client is one visit to memory behind the
// one to the slots. The few groups that have a single slot and need more cells have them elsewhere.
//
// Memory is allocated as clients come: about a byte at first for each that there may be, and 25 to 30
// bytes per client, free cells included. Known clients allocate nothing. Newcomers do when their
// group is full, which is one in eight or so.
type table struct {
	rates    rates
	slots    []atomic.Pointer[group]
	max      int64
	overflow []atomic.Int64

	_       [64]byte     // what follows is written by newcomers, what precedes only read
	tracked atomic.Int64 // cells that belong to a client
	hand    atomic.Uint64
	barren  atomic.Int64 // newcomers who search their own group alone; at times a few below 0

	overflowed atomic.Int64 // requests decided by an overflow bucket
}

func newTable(r rates, maxTracked int) *table {
	t := &table{
		rates:    r,
		slots:    make([]atomic.Pointer[group], (maxTracked+clientsPerGroup-1)/clientsPerGroup),
		max:      int64(maxTracked),
		overflow: make([]atomic.Int64, overflowBuckets),
	}
	for first := 0; first < len(t.slots); first += slotsPerGroup {
		n := min(slotsPerGroup, len(t.slots)-first)
		g := newGroup(uint32(first), uint32(n), cellsPerGroup)
		for i := range n {
			t.slots[first+i].Store(g)
		}
	}
	return t
}

func (t *table) take(key uint64, now int64) outcome {
	for {
		state, own := t.bucket(key, now)
		o, ok := takeFrom(state, now, &t.rates)
		if !ok {
			continue
		}
		if !own {
			if o.allowed && t.overtaken(key, o.tat-t.rates.token) {
				continue
			}
			t.overflowed.Add(1)
		}
		return o
	}
}

// overtaken reports whether a token of a shared bucket, which was in the given state before, was taken
// in vain. Another request of the same client may have found a place meanwhile, and opened the bucket
// there before it could see this token. Then this one counts there. Or that bucket is full again and
// has been dropped already: then this one must not find what was spent there until it was.
func (t *table) overtaken(key uint64, state int64) bool {
	g := t.current(t.slot(key))
	_, own := g.find(key)
	return own || g.start > state
}

// raise makes the debt of the client with that key at least that of the given state.
func (t *table) raise(key uint64, floor, now int64) {
	for {
		state, own := t.bucket(key, now)
		if !raise(state, floor) {
			continue
		}
		// As in take, a bucket of its own may have been opened before this debt could be seen.
		if _, opened := t.current(t.slot(key)).find(key); own || !opened {
			return
		}
	}
}

// peek returns the state of the client with that key or, if it has no bucket of its own, the one
// that it would open it in.
func (t *table) peek(key uint64) int64 {
	g := t.current(t.slot(key))
	if c, known := g.find(key); known {
		if tat := c.state.Load() &^ closed; tat > 0 {
			return tat
		}
	}
	return t.opening(g, key)
}

// opening returns the state in which a client of the group opens its bucket.
func (t *table) opening(g *group, key uint64) int64 {
	return max(full, g.start, t.shared(key).Load())
}

// bucket returns the state of the client with that key, and whether it is his own rather than
// shared. By the time it is used it may be closed.
func (t *table) bucket(key uint64, now int64) (state *atomic.Int64, own bool) {
	slot := t.slot(key)
	for {
		g := t.slots[slot].Load()
		c, known := g.find(key)
		if known {
			switch tat := c.state.Load(); {
			case tat > 0:
				return &c.state, true
			case tat == 0: // whoever gets here first opens it
				c.state.CompareAndSwap(0, t.opening(g, key))
			default:
				t.renew(g, t.longAgo(now))
			}
			continue
		}
		switch {
		case g.isClosed():
			t.renew(g, t.longAgo(now))
		case t.tracked.Load() >= t.max:
			if !t.evict(g, now) {
				shared := t.shared(key)
				raise(shared, g.start) // it may have been dropped from there
				return shared, false
			}
		case c == nil:
			t.renew(g, t.longAgo(now))
		default:
			t.claim(c, key)
		}
	}
}

func (t *table) slot(key uint64) uint32 {
	i, _ := bits.Mul64(key, uint64(len(t.slots)))
	return uint32(i)
}

// current returns the group for the slot that has not been replaced.
func (t *table) current(slot uint32) *group {
	g := t.slots[slot].Load()
	for h := g.heirs.Load(); h != nil; h = g.heirs.Load() {
		g = h.of(slot)
	}
	return g
}

func (t *table) shared(key uint64) *atomic.Int64 {
	return &t.overflow[key%overflowBuckets]
}

// claim gives a free cell to a newcomer, unless another takes it or the last place in the table.
func (t *table) claim(c *cell, key uint64) {
	for {
		n := t.tracked.Load()
		if n >= t.max {
			return
		}
		if t.tracked.CompareAndSwap(n, n+1) {
			break
		}
	}
	if !c.key.CompareAndSwap(0, key) {
		t.tracked.Add(-1)
	}
}

// evict drops the clients that are full again from the newcomer's own group or, if it has none,
// from one of the next in turn. It returns false if there are none either.
func (t *table) evict(g *group, now int64) bool {
	tick, tries := t.rates.at(now), evictionTries
	if t.barren.Load() > 0 {
		t.barren.Add(-1)
		tries = 1
	}
	for range tries {
		if g.idle(tick) {
			t.renew(g, tick)
			return true
		}
		g = t.current(uint32(t.hand.Add(1) % uint64(len(t.slots))))
	}
	if tries > 1 {
		t.barren.Store(barrenFor)
	}
	return false
}

// longAgo returns the tick such that whose bucket was full by then need not be kept.
func (t *table) longAgo(now int64) int64 {
	if t.tracked.Load() > t.max/8*7 {
		return t.rates.at(now)
	}
	return t.rates.at(max(0, now-keptFor))
}

// renew replaces a group by one or two with room for newcomers, without the clients whose buckets
// are full at the tick, unless that has been done, and leads all its slots there.
func (t *table) renew(g *group, tick int64) {
	if g.heirs.Load() == nil {
		t.tracked.Add(-int64(g.replace(t, tick)))
	}
	for slot := g.first; slot < g.first+g.slots; slot++ {
		t.lead(slot)
	}
}

// lead makes the slot lead to the group that has not been replaced. Whoever replaces that later leads
// it on, so that no slot holds on to what is gone.
func (t *table) lead(slot uint32) {
	for {
		g := t.slots[slot].Load()
		h := g.heirs.Load()
		if h == nil {
			return
		}
		t.slots[slot].CompareAndSwap(g, h.of(slot))
	}
}
