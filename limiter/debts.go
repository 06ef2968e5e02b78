package limiter

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// debt is what a deleted client had spent, and what of it is still under way.
type debt struct {
	rates   rates
	tat     int64
	owed    int64
	account *account
	entered int64 // that of the bucket
}

// paid reports whether the client would have a full bucket by now, and nothing under way, had it not
// been deleted.
func (d *debt) paid(now int64) bool {
	tat, owed := carry(&d.rates, d.tat, d.owed, now, &d.rates)
	return owed == 0 && tat <= d.rates.at(now) && !d.underWay()
}

// underWay reports whether requests of the client have not ended.
func (d *debt) underWay() bool {
	left := d.account.left.Load()
	return d.entered+d.account.bounded.Load() > left
}

// debts remembers what deleted clients had spent, for as long as they had not got it back, and what
// they have under way: one that is registered again goes on from there. Else deletion would be a way
// to refill a bucket, or to have more under way than may be. The zero value remembers nobody.
// Limiter.registering guards it. Its size is bounded by the clients deleted within 30 days, the longest
// that a bucket takes to be full, and by the requests under way; in practice by the clients deleted
// within a few minutes.
type debts struct {
	byID  map[ID]debt
	sweep int // size at which those paid are forgotten
}

const leastSweep = 64

func (all *debts) remember(id ID, d debt, now int64) {
	if d.paid(now) {
		return
	}
	if all.byID == nil {
		all.byID, all.sweep = make(map[ID]debt), leastSweep
	}
	if len(all.byID) >= all.sweep {
		for id, d := range all.byID {
			if d.paid(now) {
				delete(all.byID, id)
			}
		}
		all.sweep = max(leastSweep, 2*len(all.byID))
	}
	all.byID[id] = d
}

// recall forgets the client and returns what it begins with, by the rates that it gets now.
func (all *debts) recall(id ID, r *rates, now int64) debt {
	d, known := all.byID[id]
	if !known {
		return debt{tat: full, account: &account{}}
	}
	delete(all.byID, id)
	d.tat, d.owed = carry(&d.rates, d.tat, d.owed, now, r)
	if !d.underWay() {
		d.account, d.entered = &account{}, 0
	}
	return d
}

// floors are the least debts of unregistered clients in ranges that were deleted: each address
// has, of the default limit, spent what the range had. A floor is a state of a bucket, and means
// nothing any more once it has passed; of these there are never more than of the others, beyond a few.
// Floors never change, they are only replaced.
type floors struct {
	ranges *bart.Table[int64]
	last   int64 // the tick at which the last one has passed
	sweep  int   // size at which those that have passed are forgotten
}

// with returns the floors and one more. Where ranges overlap the higher counts.
func (f *floors) with(p netip.Prefix, floor, tick int64) *floors {
	more := &floors{new(bart.Table[int64]), floor, leastSweep}
	if f != nil && f.last > tick { // else all have passed
		*more = floors{f.ranges, max(floor, f.last), f.sweep}
		if more.ranges.Size() >= more.sweep {
			more.ranges = f.ahead(tick)
			more.sweep = max(leastSweep, 2*more.ranges.Size())
		}
	}
	if wider, ok := more.ranges.LookupPrefix(p); ok { // the longest that holds p, which may be p itself
		floor = max(floor, wider)
	}
	for inner, old := range more.ranges.Subnets(p) {
		if old < floor {
			more.ranges = more.ranges.InsertPersist(inner, floor)
		}
	}
	more.ranges = more.ranges.InsertPersist(p, floor)
	return more
}

// ahead returns those of the floors that have not passed at the tick.
func (f *floors) ahead(tick int64) *bart.Table[int64] {
	t := new(bart.Table[int64])
	for p, floor := range f.ranges.All() {
		if floor > tick {
			t.Insert(p, floor)
		}
	}
	return t
}

// raiseToFloor charges an unregistered client with what a deleted range had spent that holds its
// address.
func (l *Limiter) raiseToFloor(f *floors, c *Client, now int64) {
	tick := l.anonymous.rates.at(now)
	if f.last <= tick {
		return
	}
	floor, _ := f.ranges.Lookup(c.address.addr())
	if ipv4, ok := c.address.translated(); ok { // one client, whichever of its addresses the range held
		other, _ := f.ranges.Lookup(ipv4.addr())
		floor = max(floor, other)
	}
	if floor > tick {
		l.anonymous.raise(key(c.hash), floor, now)
	}
}

// chargeUnregistered charges who was deleted to the unregistered buckets that pay from now on.
func (l *Limiter) chargeUnregistered(p netip.Prefix, r *rates, tat, now int64) {
	floor, _ := carry(r, tat, 0, now, &l.anonymous.rates)
	tick := l.anonymous.rates.at(now)
	switch {
	case floor <= tick: // nothing is spent
	case p.IsSingleIP():
		l.anonymous.raise(key(l.secret.hash(l.network(addressOf(p.Addr())))), floor, now)
	default:
		l.floors.Store(l.floors.Load().with(p, floor, tick))
	}
}

// spentUnregistered returns the state that a bucket with the given rates has after what the address
// has spent while nobody had registered it.
func (l *Limiter) spentUnregistered(a address, r *rates, now int64) int64 {
	c := Client{address: a, hash: l.secret.hash(l.network(a))}
	if f := l.floors.Load(); f != nil {
		l.raiseToFloor(f, &c, now)
	}
	tat := l.anonymous.peek(key(c.hash))
	if tat == full {
		return full
	}
	tat, _ = carry(&l.anonymous.rates, tat, 0, now, r)
	return tat
}
