package limiter

import (
	"sync/atomic"
	"time"
)

// SetDefault changes the limit of all unregistered clients, which must have passed Check. When it
// returns, all of them have the new limit. While it runs, each has the old one or the new one.
//
// Tokens spent stay spent, up to the new capacity. What a smaller capacity forgives stays forgiven,
// even if the old capacity is restored: other than of a registered client, nothing is remembered of
// it. No change refills anything. The debts of deleted ranges are carried over too.
//
// Requests do not wait. Those that meet a bucket on its way may allocate, to move it themselves.
// Set, Delete, Reset and Usage wait: with a million clients, for some tenths of a second. A change
// of Shadow or MaxInFlight alone takes no time, and an equal default changes nothing. With a lower
// MaxInFlight, requests in flight go on; those that began without a bound are not counted.
func (l *Limiter) SetDefault(d Default) {
	l.setDefault(d, func() int64 { return l.since(time.Now()) })
}

func (l *Limiter) setDefault(d Default, clock func() int64) {
	r := prepare(d.Limit)

	l.registering.Lock()
	defer l.registering.Unlock()
	l.underWay.most.Store(d.MaxInFlight)
	t := l.anonymous.Load()
	if r == t.rates {
		t.shadow.Store(d.Shadow)
		return
	}
	next := t.successor(r)
	next.shadow.Store(d.Shadow)
	next.floors.Store(t.floors.Load().carried(&t.rates, clock(), &r))
	t.moveAll(&change{to: next, clock: clock})
	l.anonymous.Store(next)
}

// change is the replacement of a table by one with another limit and the same slots. doc.go says
// why no debt is lost.
//
// Any number of goroutines may move the same bucket or group at once: the first to finish wins, as
// with a group that is replaced within a table.
type change struct {
	to     *table
	clock  func() int64
	shared atomic.Bool // all shared buckets have moved
}

// moveAll moves all buckets to the next table.
func (t *table) moveAll(c *change) {
	t.next.Store(c)
	for slot := 0; slot < len(t.slots); {
		g := t.move(c, uint32(slot))
		slot = int(g.first) + int(g.slots)
	}
}

// leave moves the group of the client with the key to the next table, unless it has moved. It
// returns false if there is no next table.
func (t *table) leave(key uint64) bool {
	c := t.next.Load()
	if c == nil {
		return false
	}
	if slot := t.slot(key); c.to.slots[slot].Load() == nil {
		t.move(c, slot)
	}
	return true
}

// move moves the group for the slot to the next table, unless it has moved, and returns it. The
// shared buckets are moved before any group, so a client that opens a bucket of its own there finds
// what it has spent here.
func (t *table) move(c *change, slot uint32) *group {
	if !c.shared.Load() {
		for i := range t.overflow {
			tat := t.overflow[i].Or(closed) &^ closed
			c.to.overflow[i].CompareAndSwap(0, max(full, c.carry(&t.rates, tat, c.clock())))
		}
		c.shared.Store(true)
	}
	for {
		g := t.current(slot)
		if g.heirs.Load() == nil {
			g.move(&t.rates, c)
		}
		if h := g.heirs.Load(); h.moved { // else its clients have moved within this table
			for i := g.first; i < g.first+g.slots; i++ {
				c.to.slots[i].CompareAndSwap(nil, h.lower)
				c.to.lead(i)
			}
			return g
		}
	}
}

// move closes the group and makes its heir in the next table, with each client in the same cell.
func (g *group) move(r *rates, c *change) {
	g.close(0)
	now := c.clock() // no request that has taken a token here is later
	to := newGroup(g.first, g.slots, g.size())
	to.start = c.carry(r, g.start, now)
	for i := range g.size() {
		from, cell := g.cell(i), to.cell(i)
		if key := from.key.Load(); key != sealed {
			cell.key.Store(key)
			cell.state.Store(c.carry(r, from.state.Load()&^closed, now))
		}
	}
	g.heirs.CompareAndSwap(nil, &heirs{lower: to, moved: true})
}

// carry translates the state of a bucket, or 0, to the new limit. A full bucket has been full since
// the same moment.
func (c *change) carry(from *rates, tat, now int64) int64 {
	switch {
	case tat == 0:
		return 0
	case tat <= from.at(now):
		return c.to.rates.at(from.when(tat))
	}
	return transfer(from, tat, now, &c.to.rates)
}

// transfer translates the state of a bucket that is not full at now. Of what was spent it forgives
// exactly what is above the new capacity.
func transfer(from *rates, tat, now int64, to *rates) int64 {
	spent, now := from.spent(tat, now)
	if rescale(spent, from.shift, 0) > to.capacity {
		return to.at(now) + to.full
	}
	return to.at(now) + rescale(spent, from.shift, to.shift)
}
