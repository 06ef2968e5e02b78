package limiter

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Set gives the client its terms. They are effective for the next Admit. A known client keeps its
// bucket and what it has spent, up to the new capacity; no number of changes grants it a token more
// than the larger of the limits does. A new one starts with a full bucket, but for what is known to
// be spent: by the address while nobody had registered it, or by the client before it was deleted. What
// such a client still has under way counts.
// A range is one client: its addresses share the bucket. A key that differs from the client's
// takes its place, and no two clients may have the same.
func (l *Limiter) Set(r Registration) {
	l.set(r, l.since(time.Now()))
}

func (l *Limiter) set(r Registration, now int64) {
	id := canonical(r.ID)

	l.registering.Lock()
	defer l.registering.Unlock()
	if id.Name != "" {
		l.dropHolder(r.Key, id, now)
	}
	p := l.plans.use(r.Terms)
	old := l.current(id)
	if old == nil {
		l.open(id, r.Key, p, now)
		return
	}
	l.plans.drop(old.plan)
	a := old.account
	next := newBucket(p, a)
	if id.Name != "" && l.keys[id.Name] != r.Key {
		l.rekey(id, r.Key, old, next, now)
	} else {
		old.replace(next, now)
		l.replaced(id, old, next)
	}
	a.setTrial(p)
}

// dropHolder deletes the client that has the key, if it is another. Whoever keeps the clients sees
// to it that no two have the same, but may tell of the one who has given it up later than of the
// one who has taken it, or never.
func (l *Limiter) dropHolder(key KeyDigest, id ID, now int64) {
	b := l.keyed.get(key.place())
	if b == nil {
		return
	}
	if holder := b.account.named.Load().id; holder != id {
		l.remove(holder, now)
	}
}

// open registers a client that nobody has registered.
func (l *Limiter) open(id ID, key KeyDigest, p *plan, now int64) {
	d := l.debts.recall(id, &p.rates, now)
	tat, a := d.tat, d.account
	b := newBucket(p, a)
	b.entered.Store(d.entered)
	a.owed, a.base = d.owed, a.counts(b)
	a.trial.Store(nil)
	a.setTrial(p)
	switch {
	case id.Name != "":
		b.state.Store(tat)
		a.named.Store(&named{id, key, rand.Uint64()})
		l.keys[id.Name] = key
		l.keyed.add(key.place(), b)
	case id.Prefix.IsSingleIP():
		addr := addressOf(id.Prefix.Addr())
		b.state.Store(max(tat, l.spentUnregistered(addr, &p.rates, now)))
		l.exact.add(addr, b)
		// Meanwhile, requests that had found nobody registered may have taken more.
		raise(&l.exact.get(addr).state, l.spentUnregistered(addr, &p.rates, now))
	default:
		b.state.Store(tat)
		a.named.Store(&named{id: id, mark: rand.Uint64()})
		l.ranges.Store(l.ranges.Load().InsertPersist(id.Prefix, b))
	}
}

// replaced tells where clients are found that old leads to next now.
func (l *Limiter) replaced(id ID, old, next *bucket) {
	switch {
	case id.Name != "":
		key := l.keys[id.Name]
		l.keyed.replace(key.place(), old, next)
	case id.Prefix.IsSingleIP():
		l.exact.replace(addressOf(id.Prefix.Addr()), old, next)
	default:
		l.ranges.Store(l.ranges.Load().InsertPersist(id.Prefix, next))
	}
}

// rekey makes next the bucket of a named client, which another key finds. Requests that have found old
// by the one before go by their address.
func (l *Limiter) rekey(id ID, key KeyDigest, old, next *bucket, now int64) {
	a, before := next.account, l.keys[id.Name]
	l.keyed.unlink(before.place(), old)
	tat, entered := old.shut()
	tat, a.owed = carry(&old.plan.rates, tat, a.owed, now, &next.plan.rates)
	next.state.Store(tat)
	next.entered.Store(entered)
	next.seen.Store(old.seen.Load())
	a.named.Store(&named{id, key, a.named.Load().mark})
	l.keys[id.Name] = key
	l.keyed.add(key.place(), next)
}

// current returns the bucket of a registered client, or nil.
func (l *Limiter) current(id ID) *bucket {
	switch {
	case id.Name != "":
		key, known := l.keys[id.Name]
		if !known {
			return nil
		}
		return l.keyed.get(key.place())
	case id.Prefix.IsSingleIP():
		return l.exact.get(addressOf(id.Prefix.Addr()))
	}
	b, _ := l.ranges.Load().Get(id.Prefix)
	return b
}

// Delete forgets the client, if there is one. What it has spent stays spent: of an address, and of
// each address of a range, the unregistered bucket holds no more than it would had all of that been
// taken from it. Whoever used a key goes by the address.
func (l *Limiter) Delete(id ID) {
	l.delete(id, l.since(time.Now()))
}

func (l *Limiter) delete(id ID, now int64) {
	id = canonical(id)

	l.registering.Lock()
	defer l.registering.Unlock()
	l.remove(id, now)
}

// remove is delete for who holds the lock.
func (l *Limiter) remove(id ID, now int64) {
	old := l.current(id)
	if old == nil {
		return
	}
	a := old.account
	d := debt{rates: old.plan.rates, owed: a.owed, account: a}
	if id.Name == "" { // before requests go there, and then the rest
		l.chargeUnregistered(id.Prefix, &d.rates, old.state.Load(), now)
	}
	switch {
	case id.Name != "":
		key := l.keys[id.Name]
		d.tat, d.entered = l.keyed.remove(key.place(), old)
		delete(l.keys, id.Name)
	case id.Prefix.IsSingleIP():
		d.tat, d.entered = l.exact.remove(addressOf(id.Prefix.Addr()), old)
	default:
		l.ranges.Store(l.ranges.Load().DeletePersist(id.Prefix))
		d.tat, d.entered = old.shut()
	}
	l.plans.drop(old.plan)
	l.debts.remember(id, d, now)
	if id.Name == "" {
		l.chargeUnregistered(id.Prefix, &d.rates, d.tat, now)
	}
}

// Reset makes the client's buckets full and its counts 0. What is under way stays. ok is false if
// nobody has registered the client.
func (l *Limiter) Reset(id ID) (ok bool) {
	id = canonical(id)

	l.registering.Lock()
	defer l.registering.Unlock()
	old := l.current(id)
	if old == nil {
		return false
	}
	a := old.account
	next := newBucket(old.plan, a)
	old.refill(next)
	a.owed = 0
	a.base = a.counts(next) // before next may move elsewhere
	l.replaced(id, old, next)
	if next.plan.onTrial {
		a.trial.Store(newTrial(&next.plan.trial))
	}
	return true
}

// carry translates the state of a bucket to a new limit: tokens spent stay spent, but no more of
// them than the new capacity.
//
// What a smaller capacity forgives is owed, in whole tokens. A larger one does not hand it out
// again: it first pays what is owed. Hence, however often and in whatever order limits change, no
// window sees more than the largest capacity and the refill.
//
// A change may come to a bucket that requests from later than now have used: others ran since it read
// its time. It then takes effect as soon as the bucket can have held what they took. At now they would
// seem to have spent more than there was, and that would be forgiven.
func carry(from *rates, tat, owed, now int64, to *rates) (newTAT, newOwed int64) {
	if empty := tat - from.full; empty > from.at(now) {
		now = from.when(empty)
	}
	spent := tat - from.at(now) // ticks of the old limit
	if spent < 0 {              // full for a while, and that refill pays what is owed
		owed = max(0, owed-(-spent)>>from.shift)
		spent = 0
	}
	forgiven := max(0, rescale(spent, from.shift, 0)-to.capacity)
	spent -= forgiven << from.shift
	owed += forgiven

	paid := min(owed, max(0, to.capacity-from.capacity))
	return to.at(now) + rescale(spent, from.shift, to.shift) + paid<<to.shift, owed - paid
}

// rescale converts ticks from one shift to another, rounding up. With shift 0 a tick is a token.
func rescale(ticks int64, from, to uint8) int64 {
	if to >= from {
		return ticks << (to - from)
	}
	return (ticks + 1<<(from-to) - 1) >> (from - to)
}

// canonical returns the form in which a client is stored: an address or range masked, without a
// zone, and IPv4 where it is IPv4 mapped to IPv6.
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
