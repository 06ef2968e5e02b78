package limiter

import "sync/atomic"

// bucket is the token bucket of a registered client, with what every request needs. Its plan never
// changes: new terms are a new bucket, which the old one, closed, leads to. With the address it
// belongs to it fills one line of the processor's cache; see entry.
type bucket struct {
	state   atomic.Int64 // never 0 once requests can find it
	plan    *plan
	next    atomic.Pointer[bucket]
	allowed atomic.Int64  // requests within the limit; closed as state is
	seen    atomic.Uint32 // second of the last request since Limiter.base, counted from 1; 0: none
	account *account
}

// account is what stays with a registered client whatever its terms are.
type account struct {
	inFlight atomic.Int64
	limited  atomic.Int64 // requests rejected
	shadowed atomic.Int64 // requests that passed because of Terms.Shadow alone
	trial    atomic.Pointer[trial]
	named    atomic.Pointer[named] // nil if the client is an address
	owed     int64                 // see carry; guarded by Limiter.registering
}

// named is a registered client that is not an address: a range, or a name with a key. It never
// changes.
type named struct {
	id   ID
	key  KeyDigest // of the API key, if the client has a name
	mark uint64    // at random, what a hash is for an address; see rejections
}

// trial is the second bucket of a client, which rejects nothing.
type trial struct {
	state   atomic.Int64
	rates   *rates
	limited atomic.Int64 // requests that it would have rejected
}

// full is the state of a bucket from which nobody has taken yet.
const full = 1

// Lease is a request under way, of a registered client or, in its zero value, of another. It is a
// plain value.
type Lease struct{ account *account }

// Release ends the request. It must be called once.
func (s Lease) Release() {
	if s.account != nil {
		s.account.inFlight.Add(-1)
	}
}

// enter adds a request to those under way, unless that makes more than most; 0 means no bound.
func (a *account) enter(most int64) bool {
	for {
		n := a.inFlight.Load()
		if most > 0 && n >= most {
			return false
		}
		if a.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// admit decides about a request and, if it is allowed, adds it to those under way. It returns false
// if the bucket is closed.
func (b *bucket) admit(now int64, d *Decision) (open bool) {
	p, a := b.plan, b.account
	if !a.enter(p.terms.MaxInFlight) {
		return b.refuse(now, d)
	}
	o, open := takeFrom(&b.state, now, &p.rates)
	if !open {
		a.inFlight.Add(-1)
		return false
	}
	p.rates.describe(o, d)
	d.Shadow = p.terms.Shadow
	switch {
	case o.allowed:
		b.count()
	case d.Shadow:
		d.exceed(Rate)
		a.shadowed.Add(1)
	default:
		d.exceed(Rate)
		a.limited.Add(1)
		a.inFlight.Add(-1)
	}
	a.try(now)
	b.see(now)
	return true
}

// refuse decides about a request of a client that has as many under way as may be. It takes no
// token.
func (b *bucket) refuse(now int64, d *Decision) (open bool) {
	p, a := b.plan, b.account
	tat := b.state.Load()
	if tat < 0 {
		return false
	}
	p.rates.describe(outcome{tat, now, false}, d)
	d.RetryAfter = untilOneEnds
	d.Shadow = p.terms.Shadow
	d.exceed(InFlight)
	if d.Shadow {
		a.inFlight.Add(1)
		a.shadowed.Add(1)
		a.try(now) // it passes, and so it counts there
	} else {
		a.limited.Add(1)
	}
	b.see(now)
	return true
}

// count counts a request within the limit, where the counts have moved to.
func (b *bucket) count() {
	for b != nil && b.allowed.Add(1) < 0 {
		b = b.next.Load()
	}
}

// see notes the time of a request. Most find the second noted already.
func (b *bucket) see(now int64) {
	if second := uint32(now/1e9) + 1; b.seen.Load() != second {
		b.seen.Store(second)
	}
}

// try asks the bucket on trial, if there is one.
func (a *account) try(now int64) {
	if t := a.trial.Load(); t != nil {
		if o, _ := takeFrom(&t.state, now, t.rates); !o.allowed {
			t.limited.Add(1)
		}
	}
}

// setTrial gives the client the bucket on trial that its plan has, a full one. One with the same
// limit stays as it is.
func (a *account) setTrial(p *plan) {
	old := a.trial.Load()
	switch {
	case p.terms.Trial == (Limit{}):
		a.trial.Store(nil)
	case old == nil || *old.rates != p.trial:
		a.trial.Store(newTrial(&p.trial))
	}
}

func newTrial(r *rates) *trial {
	t := &trial{rates: r}
	t.state.Store(full)
	return t
}

// newBucket returns a full bucket.
func newBucket(p *plan, a *account) *bucket {
	b := &bucket{plan: p, account: a}
	b.state.Store(full)
	return b
}

// replace makes next the client's bucket, in the state that its plan makes of the old one's, and
// closes the old one.
func (b *bucket) replace(next *bucket, now int64) {
	b.next.Store(next)
	for {
		tat := b.state.Load()
		moved, owed := carry(&b.plan.rates, tat, b.account.owed, now, &next.plan.rates)
		next.state.Store(moved) // nobody sees it before the next line succeeds
		if b.state.CompareAndSwap(tat, tat|closed) {
			b.account.owed = owed
			b.handOver(next)
			return
		}
	}
}

// move makes next what the bucket is, and closes the bucket.
func (b *bucket) move(next *bucket) {
	next.plan, next.account = b.plan, b.account
	b.next.Store(next)
	for {
		tat := b.state.Load()
		next.state.Store(tat) // nobody sees it before the next line succeeds
		if b.state.CompareAndSwap(tat, tat|closed) {
			b.handOver(next)
			return
		}
	}
}

// handOver closes the counts of a closed bucket and adds them to the one it leads to.
func (b *bucket) handOver(next *bucket) {
	next.allowed.Add(b.allowed.Or(closed) &^ closed)
	if seen := b.seen.Load(); next.seen.Load() < seen {
		next.seen.Store(seen)
	}
}
