package limiter

import "sync/atomic"

// group is a small hash table with linear probing. Keys are only added, each by one
// compare-and-swap on the first free cell of its probe sequence, so two goroutines cannot give a
// newcomer two buckets.
//
// A full group is replaced by one without the clients that can be dropped, or by two if that does
// not make room. The replacement begins by closing all cells, which makes their keys and states
// final. Any goroutine that meets a closed cell can then make the same copy, without locks or
// waiting.
type group struct {
	// start is a tick at which all dropped buckets were full. New buckets are full from then on,
	// not earlier: a late request with an earlier time must not find tokens that were spent since.
	start int64

	first, slots uint32 // of the table that lead here, or did until the group was replaced
	heirs        atomic.Pointer[heirs]
	more         *[]cell // used once the others are taken; nil if there are none
	cells        [cellsPerGroup]cell
}

// cell is the bucket of the client with the key, until its group is replaced.
type cell struct {
	key   atomic.Uint64 // 0: free
	state atomic.Int64  // 0: not open yet
}

// heirs are the groups that replace a group. They share its slots, in order.
type heirs struct {
	lower *group
	upper *group // nil if there is only one
	moved bool   // the only heir is in the next table
}

const (
	cellsPerGroup = 16

	// spareCells is the least number of free cells of a group that replaces another.
	spareCells = 4

	// sealed is the key of a cell that was free when its group was closed.
	sealed = 1<<64 - 1
)

// newGroup returns a group with at least the given number of cells.
func newGroup(first, slots uint32, cells int) *group {
	g := &group{first: first, slots: slots}
	if cells > cellsPerGroup {
		more := make([]cell, cells-cellsPerGroup)
		g.more = &more
	}
	return g
}

// size returns the number of cells.
func (g *group) size() int {
	if g.more == nil {
		return cellsPerGroup
	}
	return cellsPerGroup + len(*g.more)
}

// cell returns the i-th cell.
func (g *group) cell(i int) *cell {
	if i < cellsPerGroup {
		return &g.cells[i]
	}
	return &(*g.more)[i-cellsPerGroup]
}

// find returns the cell of the client with the key or, if it has none, the first free cell for it.
// It returns nil if there is neither.
func (g *group) find(key uint64) (c *cell, known bool) {
	for i := range uint64(cellsPerGroup) {
		c := &g.cells[(key+i)%cellsPerGroup]
		switch c.key.Load() {
		case key:
			return c, true
		case 0:
			return c, false
		}
	}
	if g.more == nil {
		return nil, false
	}
	for i := range *g.more {
		c := &(*g.more)[i]
		switch c.key.Load() {
		case key:
			return c, true
		case 0:
			return c, false
		}
	}
	return nil, false
}

// idle reports whether a client of the group has a bucket that is full at the tick.
func (g *group) idle(tick int64) bool {
	for i := range g.size() {
		c := g.cell(i)
		if key := c.key.Load(); key != 0 && key != sealed && !kept(c.state.Load()&^closed, tick) {
			return true
		}
	}
	return false
}

// kept reports whether a client in state tat must be kept at the tick. A client whose bucket is not
// open yet has just come; if it were dropped, newcomers could drop each other forever.
func kept(tat, tick int64) bool { return tat == 0 || tat > tick }

// isClosed reports whether the group is being replaced, or has been.
func (g *group) isClosed() bool { return g.cells[0].state.Load() < 0 }

// hasMoved reports whether the group has been replaced by one in the next table.
func (g *group) hasMoved() bool {
	h := g.heirs.Load()
	return h != nil && h.moved
}

// close makes the keys and states of the group final. It returns the number of its clients, and of
// those that must be kept at the tick.
func (g *group) close(tick int64) (held, keep int) {
	for i := range g.size() {
		c := g.cell(i)
		tat := c.state.Or(closed) &^ closed
		if c.key.CompareAndSwap(0, sealed) || c.key.Load() == sealed {
			continue
		}
		held++
		if kept(tat, tick) {
			keep++
		}
	}
	return held, keep
}

// replace closes the group and makes its heirs, without the clients whose buckets are full at the
// tick. It returns the number of clients dropped. Any number of goroutines may do so at once: the
// first to finish wins, and the others return 0.
func (g *group) replace(t *table, tick int64) (dropped int) {
	held, keep := g.close(tick)
	h := new(heirs)
	switch {
	case g.slots == 1:
		h.lower = newGroup(g.first, 1, keep+spareCells+keep/4)
	case keep+spareCells <= cellsPerGroup: // no more cells: all clients may go to one half later
		h.lower = newGroup(g.first, g.slots, cellsPerGroup)
	default:
		half := g.slots / 2
		h.lower = newGroup(g.first, half, cellsPerGroup)
		h.upper = newGroup(g.first+half, g.slots-half, cellsPerGroup)
	}
	start := g.start
	if keep < held {
		start = max(start, tick)
	}
	h.lower.start = start
	if h.upper != nil {
		h.upper.start = start
	}
	for i := range g.size() {
		from := g.cell(i)
		key, tat := from.key.Load(), from.state.Load()&^closed
		if key == sealed || !kept(tat, tick) {
			continue
		}
		to, _ := h.of(t.slot(key)).find(key)
		to.key.Store(key)
		to.state.Store(tat)
	}
	if !g.heirs.CompareAndSwap(nil, h) {
		return 0
	}
	return held - keep
}

// of returns the group for the slot.
func (h *heirs) of(slot uint32) *group {
	if h.upper != nil && slot >= h.upper.first {
		return h.upper
	}
	return h.lower
}
