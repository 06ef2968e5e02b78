package limiter

import (
	"math/big"
	"net/netip"
)

// division is what the addresses of a range with Terms.Each have spent.
type division struct {
	seed *ledger // with which each address begins
	per  map[netip.Addr]*ledger
}

func (a *ledger) copy() *ledger {
	m := *a.model
	return &ledger{model: &m, limit: a.limit, opened: a.opened}
}

func (d *division) of(addr netip.Addr) *ledger {
	if d.per[addr] == nil {
		d.per[addr] = d.seed.copy()
	}
	return d.per[addr]
}

// all returns the ledgers that have been used.
func (d *division) all() (all []*ledger) {
	for _, a := range d.per {
		all = append(all, a)
	}
	if d.seed.opened {
		all = append(all, d.seed)
	}
	return all
}

// missing returns what is missing in the emptiest bucket; below 0, what it would have gained had it
// not been full.
func (d *division) missing(now int64) *big.Rat {
	var most *big.Rat
	for _, a := range d.all() {
		if m := new(big.Rat).Sub(a.capacity, a.uncapped(now)); most == nil || m.Cmp(most) > 0 {
			most = m
		}
	}
	if most == nil {
		return big.NewRat(-1, 1)
	}
	return most
}

// raise makes what is missing in the range's own bucket at least what is missing in one of these.
func (d *division) raise(own *ledger, now int64) {
	if len(d.all()) == 0 {
		return
	}
	left := new(big.Rat).Sub(own.capacity, d.missing(now))
	if !own.opened || left.Cmp(own.uncapped(now)) < 0 {
		own.tokens, own.last, own.opened = left, now, true
	}
}

// divide gives the addresses of a range what they begin with, after its own bucket has become a. was
// is what they had before or, if the range was not known, when it was deleted.
func (o *oracle) divide(id ID, a *ledger, was *division, known, each bool, now int64) (sure bool) {
	delete(o.each, id)
	sure = true
	switch {
	case each && known && was != nil:
		if was.seed.limit != a.limit {
			moved := &division{o.transfer(was.seed, a.limit, now), map[netip.Addr]*ledger{}}
			for addr, old := range was.per {
				moved.per[addr] = o.transfer(old, a.limit, now)
			}
			was = moved
		}
		o.each[id] = was
	case each:
		d := &division{a.copy(), map[netip.Addr]*ledger{}}
		o.each[id] = d
		if was == nil {
			break
		}
		for addr, old := range was.per {
			spent, _, certain := o.carry(old, a.limit, 0, now)
			if sure = sure && certain; spent.Sign() > 0 {
				own := d.of(addr)
				own.refill(now)
				own.spend(spent)
			}
		}
		if !was.seed.opened {
			break
		}
		spent, _, certain := o.carry(was.seed, a.limit, 0, now)
		d.seed.refill(now)
		d.seed.spend(spent)
		return sure && certain
	case !known && was != nil:
		for _, old := range was.all() {
			spent, _, certain := o.carry(old, a.limit, 0, now)
			a.spend(spent)
			sure = sure && certain
		}
	}
	return sure
}

// bury has the unregistered clients of a range that is deleted pay for what they spent there.
func (o *oracle) bury(id ID, d *division, now int64) (sure bool) {
	delete(o.each, id)
	sure = true
	for addr, a := range d.per {
		spent, _, certain := o.carry(a, o.limit, 0, now)
		if sure = sure && certain; spent.Sign() > 0 {
			o.unregistered(addr, now).spend(spent)
		}
	}
	if !d.seed.opened {
		return sure
	}
	spent, _, certain := o.carry(d.seed, o.limit, 0, now)
	if spent.Sign() > 0 {
		o.floors = append(o.floors, floor{id.Prefix, spent, now})
	}
	return sure && certain
}

// dividedDebtors counts the addresses in ranges with Terms.Each that are not full, or not surely so;
// those of deleted ranges too, as they come back with the range.
func (o *oracle) dividedDebtors(now int64) (n int) {
	for _, all := range []map[ID]*division{o.each, o.buried} {
		for _, d := range all {
			for _, a := range d.per {
				if full := a.uncapped(now); full.Sub(full, o.slack).Cmp(a.capacity) < 0 {
					n++
				}
			}
		}
	}
	return n
}

// slowest returns the least rate at which a client of the table comes out of debt.
func (o *oracle) slowest() float64 {
	rate := o.limit.RatePerSecond
	for _, all := range []map[ID]*division{o.each, o.buried} {
		for _, d := range all {
			rate = min(rate, d.seed.limit.RatePerSecond)
		}
	}
	return rate
}
