package limiter

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// debt is what a deleted client has spent, and its requests still in flight.
type debt struct {
	rates   rates
	tat     int64
	owed    int64
	account *account
	entered int64  // that of its bucket
	table   *table // of a range with Terms.Each, else nil
	last    int64  // the tick at which all buckets of the table are full
}

// paid reports whether the client, had it not been deleted, would have a full bucket and nothing in
// flight.
func (d *debt) paid(now int64) bool {
	tat, owed := carry(&d.rates, d.tat, d.owed, now, &d.rates)
	return owed == 0 && max(tat, d.last) <= d.rates.at(now) && !d.inFlight()
}

// inFlight reports whether requests of the client are still in flight.
func (d *debt) inFlight() bool {
	left := d.account.left.Load()
	return d.entered+d.account.bounded.Load() > left
}

// debts holds the debts of deleted clients until they are repaid and nothing is in flight. A client
// that is registered again takes its debt over; otherwise deletion would refill a bucket, or lift a
// bound. The zero value is empty. Limiter.registering guards it.
//
// The size is bounded by the clients deleted within 30 days, the longest time for a bucket to be
// full, plus the requests in flight; in practice, by the clients deleted within a few minutes.
type debts struct {
	byID  map[ID]debt
	sweep int // size at which paid debts are dropped
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

// recall removes the debt of the client and returns it, translated to the given rates. Without a
// debt it returns a full bucket and a new account.
func (all *debts) recall(id ID, r *rates, now int64) debt {
	d, known := all.byID[id]
	if !known {
		return debt{tat: full, account: &account{}}
	}
	delete(all.byID, id)
	d.tat, d.owed = carry(&d.rates, d.tat, d.owed, now, r)
	d.last, _ = carry(&d.rates, d.last, 0, now, r)
	if !d.inFlight() {
		d.account, d.entered = &account{}, 0
	}
	return d
}

// floors are the least debts of unregistered clients in deleted ranges: each address has spent, of
// the default limit, what the range had spent. A floor is the state of a bucket, and is without
// effect once that bucket would be full; such floors are dropped whenever the number of floors has
// doubled. A floors value never changes; it is replaced.
type floors struct {
	ranges *bart.Table[int64]
	last   int64 // the tick from which all are without effect
	sweep  int   // size at which those without effect are dropped
}

// with returns the floors and one more. Where ranges overlap, the higher floor counts.
func (f *floors) with(p netip.Prefix, floor, tick int64) *floors {
	more := &floors{new(bart.Table[int64]), floor, leastSweep}
	if f != nil && f.last > tick { // else all are without effect
		*more = floors{f.ranges, max(floor, f.last), f.sweep}
		if more.ranges.Size() >= more.sweep {
			more.ranges = f.ahead(tick)
			more.sweep = max(leastSweep, 2*more.ranges.Size())
		}
	}
	if wider, ok := more.ranges.LookupPrefix(p); ok { // the longest that contains p, which may be p
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

// ahead returns the floors that still have an effect at the tick.
func (f *floors) ahead(tick int64) *bart.Table[int64] {
	t := new(bart.Table[int64])
	for p, floor := range f.ranges.All() {
		if floor > tick {
			t.Insert(p, floor)
		}
	}
	return t
}

// carried returns the floors at the rates of another default limit. Those without effect are
// dropped; nil stands for none.
func (f *floors) carried(from *rates, now int64, to *rates) *floors {
	tick := from.at(now)
	if f == nil || f.last <= tick {
		return nil
	}
	all := &floors{f.ahead(tick), transfer(from, f.last, now, to), f.sweep}
	for p, floor := range all.ranges.All() {
		all.ranges.Insert(p, transfer(from, floor, now, to))
	}
	return all
}

// raiseToFloor charges an unregistered client with the debt of the deleted range that contains its
// address, unless the client is in the next table.
func (t *table) raiseToFloor(f *floors, c *Client, now int64) {
	tick := t.rates.at(now)
	if f.last <= tick {
		return
	}
	if floor := f.of(c.address); floor > tick {
		t.raise(key(c.hash), floor, now)
	}
}

// of returns the debt of the deleted ranges that contain the address.
func (f *floors) of(a address) int64 {
	floor, _ := f.ranges.Lookup(a.addr())
	if ipv4, ok := a.translated(); ok { // the same client by its other address
		other, _ := f.ranges.Lookup(ipv4.addr())
		floor = max(floor, other)
	}
	return floor
}

// chargeUnregistered charges the debt of a deleted address or range to the unregistered buckets of
// its addresses.
func (l *Limiter) chargeUnregistered(p netip.Prefix, r *rates, tat, now int64) {
	t := l.anonymous.Load()
	floor, _ := carry(r, tat, 0, now, &t.rates)
	tick := t.rates.at(now)
	switch {
	case floor <= tick: // nothing to charge
	case p.IsSingleIP():
		t.raise(key(l.secret.hash(l.network(addressOf(p.Addr())))), floor, now)
	default:
		t.floors.Store(t.floors.Load().with(p, floor, tick))
	}
}

// spentUnregistered returns the state, at the given rates, of a bucket from which the address has
// taken what it spent while unregistered. It takes no place in the table.
func (l *Limiter) spentUnregistered(a address, r *rates, now int64) int64 {
	t := l.anonymous.Load()
	tat := t.peek(key(l.secret.hash(l.network(a))))
	if f := t.floors.Load(); f != nil {
		tat = max(tat, f.of(a))
	}
	if tat == full {
		return full
	}
	tat, _ = carry(&t.rates, tat, 0, now, r)
	return tat
}
