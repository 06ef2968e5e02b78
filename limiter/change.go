package limiter

import (
	"net/netip"
	"time"
)

// Set registers the client with the terms, or changes the terms of a registered one. The terms must
// have passed Check, and exactly one part of the ID must be set. The next Admit uses them.
//
// A registered client keeps its bucket and what it has spent, up to the new capacity; no number of
// changes grants it a token more than its largest limit does. A new client starts with a full
// bucket, less what it had spent when it was deleted or, if that is more, what its address has
// spent while unregistered. Its requests in flight from before the deletion count.
//
// A range is one client: its addresses share the bucket, unless Terms.Each gives each of them one. A
// change of the limit of these is like SetDefault. Switched on, each begins with what the range has
// spent; switched off, the range begins with the most that one of them has spent.
//
// All keys of a name lead to one bucket. A name without keys is registered, but no request finds it.
// The keys given replace those that the client had, and requests with a key that it no longer has
// are decided by their address. If another client has one of the keys, Set takes it away from that
// client, and deletes that client if it was its last.
func (l *Limiter) Set(r Registration) {
	l.registering.Lock()
	defer l.registering.Unlock()
	l.enrol(r, l.since(time.Now())) // a time from before the wait would refill what was spent since
}

// enrol is Set at a moment, with the lock held.
func (l *Limiter) enrol(r Registration, now int64) {
	id := canonical(r.ID)
	if id.Name != "" || id.Prefix.IsSingleIP() {
		r.Terms.Each = false
	}
	var keys keyring
	if id.Name != "" {
		keys = keyringOf(id.Name, r.Keys)
		self := l.names.get(id.Name)
		for key := range keys.all {
			l.takeAway(key, self, now)
		}
	}
	p := l.plans.use(r.Terms, l.share)
	old := l.current(id)
	if old == nil {
		l.open(id, keys, p, now)
		return
	}
	l.plans.drop(old.plan)
	p.prepare(old.account)
	next := newBucket(p, old.account)
	switch {
	case id.Name != "":
		l.rekey(keys, old, next, now)
	case id.Prefix.IsSingleIP():
		old.replace(next, now)
		l.replaced(id, old, next)
	default:
		l.replaceRange(id.Prefix, old, next, now)
		l.replaced(id, old, next)
	}
	next.account.setTrial(p)
}

// takeAway takes the key away from the client that has it, if that is not the given one, which may be
// nil. The store keeps keys unique, but may report that a client gave up its key after another took
// it, or never.
func (l *Limiter) takeAway(key KeyDigest, self *account, now int64) {
	b := l.keyed.get(key.place())
	if b == nil || b.account == self {
		return
	}
	holder := b.account.named.Load()
	if rest, ok := holder.keys.without(key); ok {
		l.rekey(keyringOf(holder.name, rest), b, &bucket{account: b.account}, now)
		return
	}
	l.remove(holder.id(), now)
}

// open registers a client that is not registered.
func (l *Limiter) open(id ID, keys keyring, p *plan, now int64) {
	d := l.debts.recall(id, &p.rates, now)
	tat, a := d.tat, d.account
	b := newBucket(p, a)
	b.entered.Store(d.entered)
	a.owed = d.owed
	a.restart(b)
	p.prepare(a)
	a.setTrial(p)
	switch {
	case id.Name != "":
		b.state.Store(tat)
		a.named.Store(newNamed(id, keys))
		l.names.add(a)
		l.openKeyed(b)
	case id.Prefix.IsSingleIP():
		addr := addressOf(id.Prefix.Addr())
		b.state.Store(max(tat, l.spentUnregistered(addr, &p.rates, now)))
		l.exact.add(addr, b)
		// Requests identified before this registration may have taken more tokens meanwhile.
		raise(&l.exact.get(addr).state, l.spentUnregistered(addr, &p.rates, now))
	default:
		l.openRange(id.Prefix, b, &d, now)
		a.named.Store(newNamed(id, keyring{}))
		l.ranges.Store(l.ranges.Load().InsertPersist(id.Prefix, b))
	}
}

// openKeyed makes the keys of a client that is not registered lead to its bucket.
func (l *Limiter) openKeyed(b *bucket) {
	keys := &b.account.named.Load().keys
	if keys.more == nil {
		l.keyed.add(keys.first.place(), b)
		return
	}
	for key := range keys.all {
		l.keyed.lead(key.place(), b)
	}
}

// replaced makes lookups find next, to which old leads, as the bucket of the client.
func (l *Limiter) replaced(id ID, old, next *bucket) {
	switch {
	case id.Name != "":
		for key := range old.account.named.Load().keys.all {
			l.keyed.replace(key.place(), old, next)
		}
		l.keyed.tidy()
	case id.Prefix.IsSingleIP():
		l.exact.replace(addressOf(id.Prefix.Addr()), old, next)
		l.exact.tidy()
	default: // the table stays: to change it takes some microseconds
		if first, _ := l.ranges.Load().Get(id.Prefix); first != old {
			first.next.Store(next)
		}
	}
}

// rekey replaces the bucket and the keys of a named client. Requests that found old by a key which
// the client no longer has are decided by their address: they follow old to next, and find that the
// key is gone. If next has no plan, it becomes a copy of old.
func (l *Limiter) rekey(keys keyring, old, next *bucket, now int64) {
	a := next.account
	before := a.named.Load()
	if keys != before.keys {
		a.named.Store(&named{name: before.name, keys: keys})
	}
	if next.plan == nil {
		old.move(next)
	} else {
		old.replace(next, now)
	}
	for key := range before.keys.all {
		if keys.has(key) {
			l.keyed.replace(key.place(), old, next)
		} else {
			l.keyed.unlink(key.place(), old)
		}
	}
	for key := range keys.all { // after the others: the table may grow, and its live buckets move
		if !before.keys.has(key) {
			l.keyed.lead(key.place(), next)
		}
	}
	l.keyed.tidy()
}

// current returns the bucket of a registered client, or nil.
func (l *Limiter) current(id ID) *bucket {
	switch {
	case id.Name != "":
		a := l.names.get(id.Name)
		if a == nil {
			return nil
		}
		return l.keyed.get(a.named.Load().keys.first.place())
	case id.Prefix.IsSingleIP():
		return l.exact.get(addressOf(id.Prefix.Addr()))
	}
	if first, ok := l.ranges.Load().Get(id.Prefix); ok {
		return first.current()
	}
	return nil
}

// Delete unregisters the client, if it is registered. What it has spent stays spent: the debt of an
// address, or of a range for each of its addresses, becomes the least debt of the unregistered
// bucket, up to the default capacity; with Terms.Each, that of each address its own debt. Requests
// with a key of a deleted client are decided by their address. Requests in flight stay so until
// released.
func (l *Limiter) Delete(id ID) {
	l.registering.Lock()
	defer l.registering.Unlock()
	l.remove(canonical(id), l.since(time.Now()))
}

// remove is Delete at a moment, of a canonical ID, with the lock held.
func (l *Limiter) remove(id ID, now int64) {
	old := l.current(id)
	if old == nil {
		return
	}
	a := old.account
	d := debt{rates: old.plan.rates, owed: a.owed, account: a}
	each := old.plan.terms.Each
	if id.Name == "" { // before requests can get there; the rest follows below
		l.chargeUnregistered(id.Prefix, &d.rates, old.state.Load(), now)
	}
	if each {
		l.chargeEach(id.Prefix, a.extra.Load().table.Load(), now)
	}
	switch {
	case id.Name != "":
		for key := range a.named.Load().keys.all {
			l.keyed.unlink(key.place(), old)
		}
		l.names.remove(id.Name)
	case id.Prefix.IsSingleIP():
		l.exact.unlink(addressOf(id.Prefix.Addr()), old)
	default:
		first, _ := l.ranges.Load().Get(id.Prefix)
		l.ranges.Store(l.ranges.Load().DeletePersist(id.Prefix))
		first.next.Store(nil)
	}
	// A request that finds the bucket closed identifies its client again, and no longer finds it.
	d.tat, d.entered = old.shut()
	if each {
		d.table = a.extra.Load().bury(now)
		d.last = d.table.most()
		l.chargeEach(id.Prefix, d.table, now)
	}
	l.keyed.tidy()
	l.exact.tidy()
	l.plans.drop(old.plan)
	l.debts.remember(id, d, now)
	if id.Name == "" {
		l.chargeUnregistered(id.Prefix, &d.rates, d.tat, now)
	}
}

// Reset fills the client's bucket and its trial, and sets its counts to 0. Requests in flight stay
// so. It returns false if the client is not registered.
func (l *Limiter) Reset(id ID) (ok bool) {
	id = canonical(id)

	l.registering.Lock()
	defer l.registering.Unlock()
	now, old := l.since(time.Now()), l.current(id)
	if old == nil {
		return false
	}
	a := old.account
	next := newBucket(old.plan, a)
	if old.plan.terms.Each {
		l.refillEach(id.Prefix, old, next, now)
	} else {
		old.refill(next)
	}
	a.owed = 0
	a.restart(next) // before next can move
	a.setTrial(next.plan)
	l.replaced(id, old, next)
	if l.share != nil {
		l.share.reset(id, next)
	}
	return true
}

// carry translates the state of a bucket to a new limit. Tokens spent stay spent, up to the new
// capacity.
//
// What a smaller capacity forgives is owed, in whole tokens; a larger capacity pays what is owed
// before it grants more. Hence no sequence of changes lets a window see more than the largest
// capacity plus the refill.
//
// Requests later than now may have used the bucket, if they ran after the change read its time. The
// change then takes effect at the earliest time at which the bucket can have held what they took.
// At now they would seem to have spent more than there was, and the difference would be forgiven.
func carry(from *rates, tat, owed, now int64, to *rates) (newTAT, newOwed int64) {
	spent, now := from.spent(tat, now)
	if spent < 0 { // the refill since the bucket was full pays what is owed
		owed = max(0, owed-(-spent)>>from.shift)
		spent = 0
	}
	forgiven := max(0, rescale(spent, from.shift, 0)-to.capacity)
	spent -= forgiven << from.shift
	owed += forgiven

	paid := min(owed, max(0, to.capacity-from.capacity))
	return to.at(now) + rescale(spent, from.shift, to.shift) + paid<<to.shift, owed - paid
}

// spent returns the ticks that a bucket in state tat has spent, below 0 if it was full before now,
// and the moment for which this is true: now, or the earliest at which the bucket can have held
// what was taken.
func (r *rates) spent(tat, now int64) (ticks, at int64) {
	if empty := tat - r.full; empty > r.at(now) {
		now = r.when(empty)
	}
	return tat - r.at(now), now
}

// rescale converts ticks from one shift to another, rounding up. At shift 0 a tick is a token.
func rescale(ticks int64, from, to uint8) int64 {
	if to >= from {
		return ticks << (to - from)
	}
	return (ticks + 1<<(from-to) - 1) >> (from - to)
}

// canonical returns the ID under which a client is stored: the prefix masked, without a zone, and
// IPv4 if it is IPv4 mapped to IPv6.
func canonical(id ID) ID {
	if id.Name != "" {
		return ID{Name: id.Name}
	}
	addr, size := id.Prefix.Addr().WithZone(""), id.Prefix.Bits()
	if addr.Is4In6() && size >= 96 {
		addr, size = addr.Unmap(), size-96
	}
	return ID{Prefix: netip.PrefixFrom(addr, size).Masked()}
}
