package limiter

import (
	"math/bits"
	"net/netip"
)

// A range with Terms.Each has a table of its own, in extra.table, with a bucket for each address or
// IPv6 network. The bucket of the range itself gives no tokens, but still leads requests to the plan,
// counts them, and is the state in which the buckets of addresses are opened. An address has the same
// key in this table as while it is unregistered.

// admitEach decides a request of an address in a range with Terms.Each. in is as in bucket.admit. It
// returns false if the bucket is closed, or the range is no longer so.
func (l *Limiter) admitEach(c *Client, in **account, now int64, d *Decision) (s Lease, open bool) {
	b, a := c.bucket, c.bucket.account
	if *in != a {
		(*in).abandon()
		*in = nil
		if b.enter() == moved {
			return Lease{}, false
		}
		*in = a
	}
	key, terms := key(c.hash), &b.plan.terms
	s, within := l.underWay.enter(key, terms.MaxInFlight)
	exceeded, open := a.extra.Load().table.Load().ask(c, key, within, now, d)
	if !open {
		s.Release()
		return Lease{}, false
	}
	b.see(now)
	if d.Shadow = terms.Shadow; exceeded != Nothing {
		d.exceed(exceeded)
		a.reject(d)
		if exceeded == InFlight { // reject takes it for one that has not entered
			a.uncounted.Add(1)
		}
		a.left.Add(1)
		l.rejected.addRegistered(l, c.address, a.named.Load(), now)
	}
	if !d.Allowed {
		s.Release()
		return Lease{}, true
	}
	s.account, s.shadowed = a, exceeded != Nothing
	return s, true
}

// ask decides a request of the client, which has the key, in the table or the one that replaces it.
// within is whether its bound of requests in flight is kept. It returns false if the last table is
// gone.
func (t *table) ask(c *Client, key uint64, within bool, now int64, d *Decision) (exceeded Exceeded, open bool) {
	for ; !t.gone; t = t.next.Load().to {
		if !within {
			t.refuse(key, now, d)
			return InFlight, true
		}
		o, here := t.decide(c, key, now)
		if !here {
			continue
		}
		if t.rates.describe(o, d); !o.allowed {
			return Rate, true
		}
		return Nothing, true
	}
	return Nothing, false
}

// boundEach applies Terms.MaxInFlight to an exempt request of an address in a range with Terms.Each,
// whose lease so far is that of the range.
func (l *Limiter) boundEach(c *Client, s *Lease, d *Decision) {
	terms := &c.bucket.plan.terms
	own, within := l.underWay.enter(key(c.hash), terms.MaxInFlight)
	switch {
	case within:
		s.underWay, s.key = own.underWay, own.key
	case !terms.Shadow:
		s.Release()
		*s = Lease{}
		d.Allowed, d.Exceeded, d.RetryAfter = false, InFlight, untilOneEnds
	}
}

// newEach returns an empty table for the addresses in the range of b, which have all spent what a
// bucket in state tat has.
func (l *Limiter) newEach(within netip.Prefix, b *bucket, tat int64) *table {
	p := l.anonymous.Load().pool
	most := int(min(p.max, l.networks(within)))
	overflow := min(overflowBuckets, 1<<bits.Len(uint(most-1)))
	t := newTableIn(p, b.plan.rates, most, overflow)
	t.share, t.owner = l.share, b.account
	t.shadow.Store(b.plan.terms.Shadow)
	t.seed(max(full, tat))
	return t
}

// seed makes buckets open in a state of at least tat. No request may have found the table.
func (t *table) seed(tat int64) {
	for i := range t.overflow {
		t.overflow[i].Store(max(t.overflow[i].Load(), tat))
	}
}

// networks returns the number of addresses, or networks, of the range that have a bucket each.
func (l *Limiter) networks(p netip.Prefix) int64 {
	free := l.ipv6Prefix - p.Bits()
	switch {
	case p.Addr().Is4():
		free = 32 - p.Bits()
	case p.Overlaps(translators):
		free = 128 - p.Bits()
	}
	return 1 << min(max(0, free), 62)
}

// translators is the prefix of addresses that count as the IPv4 address in them; see
// address.translated.
var translators = netip.MustParsePrefix("64:ff9b::/96")

// replaceRange is bucket.replace for a range. A table moves to the next limit as that of
// unregistered clients does. If the range had one bucket so far, each address begins with what the
// range has spent; if it has one from now on, that begins with the most that an address has spent.
func (l *Limiter) replaceRange(within netip.Prefix, old, next *bucket, now int64) {
	x := next.account.extra.Load()
	was, is := old.plan.terms.Each, next.plan.terms.Each
	switch {
	case was && is:
		if t := x.table.Load(); t.rates != next.plan.rates {
			to := t.successor(next.plan.rates)
			t.moveAll(&change{to: to, clock: func() int64 { return now }})
			x.table.Store(to)
		}
		x.table.Load().shadow.Store(next.plan.terms.Shadow)
		old.replace(next, now)
	case is:
		t := l.newEach(within, next, full)
		x.table.Store(t)
		old.replaceBy(next, now, t.seed) // before requests find next
		t.join(&x.table)
	case was:
		raise(&old.state, x.table.Load().most())
		old.replace(next, now) // from here on, requests find next
		grave := x.bury(now)
		tat, _ := carry(&grave.rates, grave.most(), 0, now, &next.plan.rates)
		raise(&next.state, tat)
	default:
		old.replace(next, now)
	}
}

// bury takes the table away from a range, and returns one with the final states. The bucket of the
// range must be closed, so that requests which find that the table is gone go on from there.
func (x *extra) bury(now int64) *table {
	t := x.table.Load()
	t.withdraw(&x.table)
	x.table.Store(&table{gone: true})
	return t.bury(now)
}

// bury closes all buckets, and returns a table that is gone, with their final states. The places of
// the clients are free from then on.
func (t *table) bury(now int64) *table {
	grave := t.successor(t.rates)
	grave.gone = true
	t.moveAll(&change{to: grave, clock: func() int64 { return now }})
	held := int64(0)
	grave.each(func(uint64, int64) { held++ })
	t.tracked.Add(-held)
	return grave
}

// each calls yield for each client with its state, which is 0 before its first request is decided.
func (t *table) each(yield func(key uint64, tat int64)) {
	for slot := 0; slot < len(t.slots); {
		g := t.current(uint32(slot))
		for i := range g.size() {
			c := g.cell(i)
			if key := c.key.Load(); key != 0 && key != sealed {
				yield(key, c.state.Load()&^closed)
			}
		}
		slot = int(g.first) + int(g.slots)
	}
}

// mostShared returns the state of the shared bucket with the largest debt.
func (t *table) mostShared() int64 {
	most := int64(full)
	for i := range t.overflow {
		most = max(most, t.overflow[i].Load()&^closed)
	}
	return most
}

// most returns the state of the client with the largest debt, or of a shared bucket.
func (t *table) most() int64 {
	most := t.mostShared()
	t.each(func(_ uint64, tat int64) { most = max(most, tat) })
	return most
}

// charge raises the debt of each client that has one in the other table to at least that.
func (t *table) charge(from *table, now int64) {
	tick := t.rates.at(now)
	from.each(func(key uint64, tat int64) {
		if floor, _ := carry(&from.rates, tat, 0, now, &t.rates); floor > tick {
			t.raise(key, floor, now)
		}
	})
}

// chargeEach charges the debts of the addresses in a range to their unregistered buckets. Of a shared
// bucket it is unknown whose it is: all addresses have its debt then.
func (l *Limiter) chargeEach(within netip.Prefix, from *table, now int64) {
	l.anonymous.Load().charge(from, now)
	l.chargeUnregistered(within, &from.rates, from.mostShared(), now)
}

// openRange gives the bucket of a range that is not registered its state. With Terms.Each it opens a
// table, with what the addresses had spent when the range was deleted.
func (l *Limiter) openRange(within netip.Prefix, b *bucket, d *debt, now int64) {
	r := &b.plan.rates
	if !b.plan.terms.Each {
		b.state.Store(max(d.tat, d.last))
		return
	}
	b.state.Store(d.tat)
	t, x := l.newEach(within, b, d.tat), b.account.extra.Load()
	if d.table != nil {
		t.charge(d.table, now)
		for i := range d.table.overflow { // not before: a bucket opens with what is shared
			floor, _ := carry(&d.table.rates, d.table.overflow[i].Load()&^closed, 0, now, r)
			raise(&t.overflow[i], floor)
		}
	}
	x.table.Store(t)
	t.join(&x.table)
}

// refillEach is bucket.refill for a range with Terms.Each.
func (l *Limiter) refillEach(within netip.Prefix, old, next *bucket, now int64) {
	x := next.account.extra.Load()
	t := x.table.Load()
	x.table.Store(l.newEach(within, next, full)) // before requests find next
	old.refill(next)
	t.bury(now) // requests that are there go on to next
}
