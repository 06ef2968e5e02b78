package limiter

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Set gives the client its terms. They are effective for the next Admit. A known client keeps its
// bucket and what it has spent, up to the new capacity; no number of changes grants it a token more
// than the larger of the limits does. A new one starts with a full bucket, but for what is known to
// be spent: by the address while nobody had registered it, or by the client before it was deleted.
// A range is one client: its addresses share the bucket. A key that differs from the client's
// takes its place, and no two clients may have the same.
func (l *Limiter) Set(r Registration) {
	l.set(r, l.since(time.Now()))
}

func (l *Limiter) set(r Registration, now int64) {
	id := canonical(r.ID)

	l.registering.Lock()
	defer l.registering.Unlock()
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
		l.rekey(id, r.Key, next, now)
	} else {
		old.replace(next, now)
		l.publish(id, next)
	}
	a.setTrial(p)
}

// open registers a client that nobody has registered.
func (l *Limiter) open(id ID, key KeyDigest, p *plan, now int64) {
	a := &account{}
	if id.Name != "" || !id.Prefix.IsSingleIP() {
		a.named.Store(&named{id, key, rand.Uint64()})
	}
	if id.Name != "" {
		l.keys[id.Name] = key
	}
	a.setTrial(p)
	b := newBucket(p, a)
	tat, owed := l.departed.recall(id, &p.rates, now)
	if id.Name == "" && id.Prefix.IsSingleIP() {
		tat = max(tat, l.spentUnregistered(addressOf(id.Prefix.Addr()), &p.rates, now))
	}
	b.state.Store(tat)
	a.owed = owed
	l.publish(id, b)
}

// rekey makes next the bucket of a named client, and the key the one that finds it.
func (l *Limiter) rekey(id ID, key KeyDigest, next *bucket, now int64) {
	before := l.keys[id.Name]
	old, a := l.keyed.remove(before.place()), next.account
	tat, owed := carry(&old.plan.rates, old.state.Load()&^closed, a.owed, now, &next.plan.rates)
	next.state.Store(tat)
	a.owed = owed
	old.handOver(next)
	a.named.Store(&named{id, key, a.named.Load().mark})
	l.keys[id.Name] = key
	l.publish(id, next)
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

// publish lets requests find the bucket of a client. The old one, if there is one, has to be closed
// and to lead to it.
func (l *Limiter) publish(id ID, b *bucket) {
	switch {
	case id.Name != "":
		key := l.keys[id.Name]
		l.keyed.put(key.place(), b)
	case id.Prefix.IsSingleIP():
		l.exact.put(addressOf(id.Prefix.Addr()), b)
	default:
		l.ranges.Store(l.ranges.Load().InsertPersist(id.Prefix, b))
	}
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
	old := l.current(id)
	if old == nil {
		return
	}
	switch {
	case id.Name != "":
		key := l.keys[id.Name]
		l.keyed.remove(key.place())
		delete(l.keys, id.Name)
	case id.Prefix.IsSingleIP():
		l.exact.remove(addressOf(id.Prefix.Addr()))
	default:
		// Requests that find the bucket closed identify their clients again. By then it must be gone.
		l.ranges.Store(l.ranges.Load().DeletePersist(id.Prefix))
		old.state.Or(closed)
	}
	l.plans.drop(old.plan)
	tat := old.state.Load() &^ closed
	l.departed.remember(id, debt{old.plan.rates, tat, old.account.owed}, now)
	if id.Name == "" {
		l.chargeUnregistered(id.Prefix, &old.plan.rates, tat, now)
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
	b := newBucket(old.plan, a)
	b.seen.Store(old.seen.Load())
	old.next.Store(b)
	old.state.Or(closed)
	old.allowed.Or(closed) // who counts now counts in the new one
	l.publish(id, b)
	a.owed = 0
	a.limited.Store(0)
	a.shadowed.Store(0)
	if old.plan.terms.Trial != (Limit{}) {
		a.trial.Store(newTrial(&old.plan.trial))
	}
	return true
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
