package limiter

import (
	"math/bits"
	"sync/atomic"
)

const (
	cellsPerGroup   = 16
	clientsPerGroup = 11   // on average, with the table full
	overflowBuckets = 1024 // a power of two

	// evictionTries is how many groups are searched for clients to drop. With two, a table of which
	// nine tenths are in debt sends so many newcomers to the overflow buckets that these run dry,
	// and their debt, taken along, fills the table. With eight that begins beyond 95 %.
	evictionTries = 8
)

// table holds the buckets of unregistered clients, all with one limit, found by a hash of who the
// client is. It holds max of them at most and forgets nothing that matters: it only drops buckets
// that are full again, and such a bucket is like a new one. When it is full of clients in debt,
// newcomers share the overflow buckets, by their hash, and a newcomer that moves from there to a
// bucket of its own takes the debt along.
//
// The hash picks a group, which is a small hash table with linear probing. Keys are only ever added
// to it, each by one compare-and-swap on the first free cell of its probe sequence, so two
// goroutines cannot give the same newcomer two buckets. A full group is replaced by one
// without the clients that can be dropped, and with more room. That begins with closing all
// cells, which makes their keys and states final. So whoever meets a closed cell can make
// the same copy: there is no lock, and nobody waits.
//
// The cells lie in the group itself, at a place that the hash alone tells: finding a client is one
// visit to memory behind the one to the list of groups. The few groups that need more cells, one in
// twenty with the table full, have them elsewhere.
//
// Memory is allocated as clients come: 8 bytes per group at first, 288 with its first client, and
// about 28 bytes per client when the table is full, free cells included. Known clients allocate
// nothing. Newcomers do when their group is full or does not exist.
type table struct {
	rates    rates
	groups   []atomic.Pointer[group]
	max      int64
	overflow []atomic.Int64

	_       [64]byte     // what follows is written by newcomers, what precedes only read
	tracked atomic.Int64 // cells that belong to a client
	hand    atomic.Uint64
}

// cell is the bucket of the client with that key, until its group is replaced.
type cell struct {
	key   atomic.Uint64 // 0: free
	state atomic.Int64  // 0: not opened yet
}

// sealed is the key of a cell that was free when its group was closed.
const sealed = 1<<64 - 1

type group struct {
	// A bucket dropped was full at this tick. One that starts anew is so too, and not before: a late
	// request with an earlier time must not find the tokens that were spent since.
	start int64
	more  []cell // used once the others are taken
	cells [cellsPerGroup]cell
}

// newGroup returns a group with at least so many cells.
func newGroup(start int64, cells int) *group {
	g := &group{start: start}
	if cells > cellsPerGroup {
		g.more = make([]cell, cells-cellsPerGroup)
	}
	return g
}

// size returns the number of cells.
func (g *group) size() int { return cellsPerGroup + len(g.more) }

// cell returns the i-th cell.
func (g *group) cell(i int) *cell {
	if i < cellsPerGroup {
		return &g.cells[i]
	}
	return &g.more[i-cellsPerGroup]
}

func newTable(r rates, maxTracked int) *table {
	return &table{
		rates:    r,
		groups:   make([]atomic.Pointer[group], (maxTracked+clientsPerGroup-1)/clientsPerGroup),
		max:      int64(maxTracked),
		overflow: make([]atomic.Int64, overflowBuckets),
	}
}

func (t *table) take(key uint64, now int64) outcome {
	for {
		state, own := t.bucket(key, now)
		o, ok := takeFrom(state, now, &t.rates)
		if !ok {
			continue
		}
		if !own && o.allowed {
			// Another request of the same client may have found a place meanwhile, and opened
			// the bucket there before it could see this token. Then this one counts there.
			if _, own = t.slot(key).Load().find(key); own {
				continue
			}
		}
		return o
	}
}

// raise makes the debt of the client with that key at least that of the given state.
func (t *table) raise(key uint64, floor, now int64) {
	for {
		if state, _ := t.bucket(key, now); raise(state, floor) {
			return
		}
	}
}

// peek returns the state of the client with that key or, if it has no bucket of its own, the one
// that it would open it in.
func (t *table) peek(key uint64) int64 {
	g := t.slot(key).Load()
	if c, known := g.find(key); known {
		if tat := c.state.Load() &^ closed; tat > 0 {
			return tat
		}
	}
	return t.opening(g, key)
}

// opening returns the state in which a client of the group opens its bucket.
func (t *table) opening(g *group, key uint64) int64 {
	start := int64(full)
	if g != nil {
		start = max(start, g.start)
	}
	return max(start, t.shared(key).Load())
}

// bucket returns the state of the client with that key, and whether it is his own rather than
// shared. By the time it is used it may be closed.
func (t *table) bucket(key uint64, now int64) (state *atomic.Int64, own bool) {
	slot := t.slot(key)
	for {
		g := slot.Load()
		c, known := g.find(key)
		if known {
			switch tat := c.state.Load(); {
			case tat > 0:
				return &c.state, true
			case tat == 0: // whoever gets here first opens it
				c.state.CompareAndSwap(0, t.opening(g, key))
			default:
				t.renew(slot, g, now)
			}
			continue
		}
		switch {
		case t.tracked.Load() >= t.max:
			if !t.evict(slot, g, now) {
				shared := t.shared(key)
				if g != nil {
					raise(shared, g.start) // it may have been dropped from there
				}
				return shared, false
			}
		case c == nil:
			t.renew(slot, g, now)
		default:
			t.claim(c, key)
		}
	}
}

func (t *table) slot(key uint64) *atomic.Pointer[group] {
	i, _ := bits.Mul64(key, uint64(len(t.groups)))
	return &t.groups[i]
}

func (t *table) shared(key uint64) *atomic.Int64 {
	return &t.overflow[key%overflowBuckets]
}

// find returns the cell of the client with that key or, if it has none, the free cell that comes
// first for it. It returns nil if there is neither.
func (g *group) find(key uint64) (c *cell, known bool) {
	if g == nil {
		return nil, false
	}
	for i := range cellsPerGroup {
		c := &g.cells[(key+uint64(i))%cellsPerGroup]
		switch c.key.Load() {
		case key:
			return c, true
		case 0:
			return c, false
		}
	}
	for i := range g.more {
		c := &g.more[i]
		switch c.key.Load() {
		case key:
			return c, true
		case 0:
			return c, false
		}
	}
	return nil, false
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
func (t *table) evict(slot *atomic.Pointer[group], g *group, now int64) bool {
	tick := t.rates.at(now)
	for range evictionTries {
		if g.idle(tick) {
			t.renew(slot, g, now)
			return true
		}
		slot = &t.groups[t.hand.Add(1)%uint64(len(t.groups))]
		g = slot.Load()
	}
	return false
}

// idle reports whether a client of the group has a bucket that is full at the tick.
func (g *group) idle(tick int64) bool {
	if g == nil {
		return false
	}
	for i := range g.size() {
		c := g.cell(i)
		if key := c.key.Load(); key != 0 && key != sealed && c.state.Load()&^closed <= tick {
			return true
		}
	}
	return false
}

// renew replaces a group by one with room for newcomers, without the clients whose buckets are
// full. Any number of goroutines may do so at once: the first to finish wins.
func (t *table) renew(slot *atomic.Pointer[group], old *group, now int64) {
	tick := t.rates.at(now)
	start, held, kept := int64(0), 0, 0
	if old != nil { // else nobody was dropped
		start = max(tick, old.start)
		held, kept = old.close(tick)
	}
	fresh := newGroup(start, kept+4+kept/4)
	if old != nil {
		fresh.copy(old, tick)
	}
	if slot.CompareAndSwap(old, fresh) {
		t.tracked.Add(int64(kept - held))
	}
}

// close makes the keys and states of the group final. It returns how many clients it holds, and
// how many of these are in debt at the tick.
func (g *group) close(tick int64) (held, kept int) {
	for i := range g.size() {
		c := g.cell(i)
		tat := c.state.Or(closed) &^ closed
		if c.key.CompareAndSwap(0, sealed) || c.key.Load() == sealed {
			continue
		}
		held++
		if tat > tick {
			kept++
		}
	}
	return held, kept
}

// copy adds the clients of a closed group that are in debt at the tick.
func (g *group) copy(closedGroup *group, tick int64) {
	for i := range closedGroup.size() {
		from := closedGroup.cell(i)
		key, tat := from.key.Load(), from.state.Load()&^closed
		if key == sealed || tat <= tick {
			continue
		}
		to, _ := g.find(key)
		to.key.Store(key)
		to.state.Store(tat)
	}
}
