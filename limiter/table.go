package limiter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// clientsPerGroup is the average number of clients of a group in a full table.
	clientsPerGroup = 11

	overflowBuckets = 1024 // a power of two

	// evictionTries is the number of groups searched for clients to drop. With eight, a table of a
	// million with nine tenths in debt sends so many newcomers to the overflow buckets that these
	// run dry, and their debt, taken along, fills the table. With 24 that begins above 95 %.
	evictionTries = 24

	// barrenFor is the number of newcomers that search only their own group after a search in vain.
	// The table is then full of debtors, and a whole search takes some microseconds.
	barrenFor = 16

	// slotsPerGroup is the number of slots of an initial group, and so the most that have to be
	// changed at once.
	slotsPerGroup = 256
)

// keptFor is how long, in nanoseconds, a client keeps its place after its bucket is full again,
// while an eighth of all places is free: it is likely to return.
const keptFor = int64(time.Minute)

// table holds the buckets of unregistered clients, or of the addresses of a range with Terms.Each,
// all with one limit, by a hash of the client. With the other tables of its pool it holds at most max
// of them and loses no debt: it drops only full buckets, and a full bucket is like a new one. When all
// places are taken by clients in debt, newcomers share the overflow buckets, by their hash. A newcomer
// that moves from there to a bucket of its own takes the debt along.
//
// The hash selects a slot, which leads to a group of clients. At first 256 slots lead to each
// group; as clients come, a group is split in two, each with half of the slots, and so on
// (extendible hashing: Fagin, Nievergelt, Pippenger, Strong, 1979, with a directory of fixed size).
// The cells are in the group itself, at a place given by the hash: finding a client takes one visit
// to memory after that of the slot. The few groups with a single slot that need more cells have
// them elsewhere.
//
// Memory is allocated as clients come: at first about a byte for each possible client, then 25 to
// 30 bytes per client, including free cells. Known clients allocate nothing. Newcomers allocate
// when their group is full, about one in eight.
//
// The limit of a table never changes. Another limit is another table, to which the groups are moved
// one by one; see change.
type table struct {
	rates    rates
	shadow   atomic.Bool             // the limit is not enforced
	floors   atomic.Pointer[floors]  // nil if there are none
	share    *Share                  // nil: the limit is of this instance
	owner    *account                // of a range with Terms.Each; else nil
	gone     bool                    // the table only keeps what was spent; see bury
	slots    []atomic.Pointer[group] // nil for groups that have yet to move here
	overflow []atomic.Int64          // 0 for buckets that have yet to move here, or were never used
	next     atomic.Pointer[change]  // to the table that replaces this one, if there is one
	*places
}

// places counts the clients of a table, together with those of the table that replaces it.
type places struct {
	*pool
	held   atomic.Int64 // cells that belong to a client; at times a few off
	hand   atomic.Uint64
	barren atomic.Int64 // newcomers yet to search only their own group; at times a few below 0

	_ [32]byte // newcomers write this line of the cache; table is only read
}

// newTable returns an empty table with a pool of its own.
func newTable(r rates, maxTracked int) *table {
	return newTableIn(&pool{max: int64(maxTracked)}, r, maxTracked, overflowBuckets)
}

// newTableIn returns an empty table for at most so many clients, which come out of the pool.
func newTableIn(p *pool, r rates, most, overflow int) *table {
	t := unfilled(r, (most+clientsPerGroup-1)/clientsPerGroup, overflow, &places{pool: p})
	for first := 0; first < len(t.slots); first += slotsPerGroup {
		n := min(slotsPerGroup, len(t.slots)-first)
		g := newGroup(uint32(first), uint32(n), cellsPerGroup)
		for i := range n {
			t.slots[first+i].Store(g)
		}
	}
	return t
}

// successor returns the table that replaces this one, without groups.
func (t *table) successor(r rates) *table {
	next := unfilled(r, len(t.slots), len(t.overflow), t.places)
	next.share, next.owner = t.share, t.owner
	return next
}

// unfilled returns a table without groups.
func unfilled(r rates, slots, overflow int, p *places) *table {
	return &table{
		rates:    r,
		slots:    make([]atomic.Pointer[group], slots),
		overflow: make([]atomic.Int64, overflow), // a power of two
		places:   p,
	}
}

// decide takes a token of the client, which has the key. It returns false if the client is in the next
// table.
func (t *table) decide(c *Client, key uint64, now int64) (o outcome, here bool) {
	for {
		state, own := t.bucket(key, now)
		var ok bool
		if t.share == nil || !own || t.shadow.Load() {
			o, ok = takeFrom(state, now, &t.rates)
		} else {
			o, ok = t.takeShared(c, key, state, now)
		}
		if !ok {
			if t.leave(key) {
				return outcome{}, false
			}
			continue
		}
		if !own {
			if o.allowed && t.overtaken(key, o.tat-t.rates.token) {
				continue
			}
			t.overflowed.Add(1)
		}
		return o, true
	}
}

// overtaken reports whether a token was taken in vain from a shared bucket, which was in the given
// state before. Another request of the same client may have found a place meanwhile, and opened the
// bucket there before it could see this token; this request then counts there. Or that bucket is
// full again and has been dropped already; this request must then not find what was spent there.
func (t *table) overtaken(key uint64, state int64) bool {
	g := t.current(t.slot(key))
	_, own := g.find(key)
	return own || g.start > state
}

// raise raises the debt of the client with the key to at least that of the floor, which is a state.
// It does nothing if the client is in the next table.
func (t *table) raise(key uint64, floor, now int64) {
	for {
		state, own := t.bucket(key, now)
		if !raise(state, floor) {
			if t.leave(key) {
				return
			}
			continue
		}
		// As in decide, its own bucket may have been opened before this debt could be seen.
		if _, opened := t.current(t.slot(key)).find(key); own || !opened {
			return
		}
	}
}

// peek returns the state of the client with the key or, if it has no bucket of its own, the state
// in which one would be opened. No change may be under way.
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
	return max(full, g.start, t.shared(key).Load()&^closed)
}

// bucket returns the state of the client with the key, and whether it is the client's own rather
// than shared. It may be closed by the time it is used; if there is a next table, it may have been
// closed before.
func (t *table) bucket(key uint64, now int64) (state *atomic.Int64, own bool) {
	slot := t.slot(key)
	for {
		g := t.slots[slot].Load()
		c, known := g.find(key)
		if known {
			switch tat := c.state.Load(); {
			case tat > 0:
				return &c.state, true
			case tat == 0: // the first request to get here opens it
				c.state.CompareAndSwap(0, t.opening(g, key))
			case t.next.Load() != nil:
				return &c.state, true
			default:
				t.renew(g, t.longAgo(now))
			}
			continue
		}
		switch {
		case g.isClosed():
			if t.next.Load() != nil {
				return &g.cells[0].state, true
			}
			t.renew(g, t.longAgo(now))
		case t.tracked.Load() >= t.max:
			if !t.evict(g, now) {
				shared := t.shared(key)
				raise(shared, g.start) // the client may have been dropped from the group
				return shared, false
			}
		case c == nil:
			t.renew(g, t.longAgo(now))
		default:
			t.claim(c, key)
		}
	}
}

// stateOf returns the state of the client with the key, or nil if it has no bucket of its own here.
func (t *table) stateOf(key uint64) *atomic.Int64 {
	if g := t.current(t.slot(key)); g != nil {
		if c, known := g.find(key); known {
			return &c.state
		}
	}
	return nil
}

func (t *table) slot(key uint64) uint32 {
	i, _ := bits.Mul64(key, uint64(len(t.slots)))
	return uint32(i)
}

// current returns the group for the slot that has not been replaced in this table, or nil if none
// has moved here yet.
func (t *table) current(slot uint32) *group {
	g := t.slots[slot].Load()
	if g == nil {
		return nil
	}
	for h := g.heirs.Load(); h != nil && !h.moved; h = g.heirs.Load() {
		g = h.of(slot)
	}
	return g
}

func (t *table) shared(key uint64) *atomic.Int64 {
	return &t.overflow[key&uint64(len(t.overflow)-1)]
}

// claim gives a free cell to a newcomer, unless another takes the cell or the last place of the
// table.
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
		return
	}
	t.held.Add(1)
}

// evict drops the clients with full buckets from the newcomer's own group or, if it has none, from
// one of the next groups in turn, or from another table. It returns false if these have none either.
func (t *table) evict(g *group, now int64) bool {
	tick := t.rates.at(now)
	if !g.hasMoved() && g.idle(tick) {
		t.renew(g, tick)
		return true
	}
	if t.barren.Load() > 0 {
		t.barren.Add(-1)
		return false
	}
	if t.evictNext(tick, evictionTries-1) || t.evictFromOthers(t, now) {
		return true
	}
	t.barren.Store(barrenFor)
	return false
}

// evictNext drops the clients with full buckets from the first of the next groups in turn that has
// any. It returns false if so many groups have none.
func (t *table) evictNext(tick int64, tries int) bool {
	for range tries {
		g := t.current(uint32(t.hand.Add(1) % uint64(len(t.slots))))
		if g != nil && !g.hasMoved() && g.idle(tick) {
			t.renew(g, tick)
			return true
		}
	}
	return false
}

// longAgo returns a tick: clients whose buckets were full by then need not be kept.
func (t *table) longAgo(now int64) int64 {
	if t.tracked.Load() > t.max/8*7 {
		return t.rates.at(now)
	}
	return t.rates.at(max(0, now-keptFor))
}

// renew replaces a group, unless it has been replaced, by one or two without the clients whose
// buckets are full at the tick, and makes all its slots lead to them.
func (t *table) renew(g *group, tick int64) {
	if g.heirs.Load() == nil {
		dropped := int64(g.replace(t, tick))
		t.tracked.Add(-dropped)
		t.held.Add(-dropped)
	}
	for slot := g.first; slot < g.first+g.slots; slot++ {
		t.lead(slot)
	}
}

// lead makes the slot lead to the group that has not been replaced in this table. The goroutine
// that replaces that group later moves the slot on, so no slot retains a replaced group. A slot to
// which no group has moved yet is left to the goroutine that moves one there.
func (t *table) lead(slot uint32) {
	for {
		g := t.slots[slot].Load()
		if g == nil {
			return
		}
		h := g.heirs.Load()
		if h == nil || h.moved {
			return
		}
		t.slots[slot].CompareAndSwap(g, h.of(slot))
	}
}
