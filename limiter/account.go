package limiter

import "sync/atomic"

// bucket is the token bucket of a registered client, with what every request needs. Its plan never
// changes: new terms are a new bucket, which the old one, closed, leads to. With the address it
// belongs to it fills one line of the processor's cache; see entry.
type bucket struct {
	state   atomic.Int64 // never 0 once requests can find it
	plan    *plan
	account *account
	next    atomic.Pointer[bucket] // of a closed bucket; nil: the client was deleted
	entered atomic.Int64           // requests that began where there was no bound; closed as state is
	seen    atomic.Uint32          // second of the last request since Limiter.base, from 1; 0: none
}

// account is what stays with a registered client whatever its terms are.
//
// What is under way is what has entered and not left. Where there is a bound on that, requests enter
// here: a bucket that moves elsewhere could not tell of them in the same instant, and more would enter
// there. As left only grows, whoever reads what has entered, then left, and then adds to bounded by a
// compare-and-swap knows how many were under way.
type account struct {
	bounded        atomic.Int64 // requests that entered where there was a bound; the others are in the bucket
	left           atomic.Int64 // requests that entered and have ended
	limited        atomic.Int64 // requests that entered, and found no token
	refused        atomic.Int64 // requests that could not enter
	uncounted      atomic.Int64 // requests that entered, and were exempt or decided about as another client's
	shadowLimited  atomic.Int64 // as limited, but let through because of Terms.Shadow
	shadowRefused  atomic.Int64 // as refused, but let through because of Terms.Shadow
	shadowInFlight atomic.Int64 // requests under way that shadow mode alone let pass: the bound does not count them
	trial          atomic.Pointer[trial]
	named          atomic.Pointer[named] // nil if the client is an address

	// Guarded by Limiter.registering.
	owed int64  // see carry
	base counts // at the last reset
}

// counts are those of requests by what became of them.
type counts struct{ allowed, limited, shadowed int64 }

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

// Lease is a request under way, of a registered client or, in its zero value, of another. It is a
// plain value.
type Lease struct {
	account  *account
	shadowed bool // the request counts in account.shadowInFlight
}

// Release ends the request. It must be called once.
func (s Lease) Release() {
	switch {
	case s.account == nil:
	case s.shadowed:
		s.account.shadowInFlight.Add(-1)
	default:
		s.account.left.Add(1)
	}
}

// entrance is what came of a request's wish to enter.
type entrance uint8

const (
	entered entrance = iota
	refused          // as many requests are under way as may be
	moved            // the bucket is closed
)

// enter adds a request to those under way, which Terms.MaxInFlight bounds.
func (b *bucket) enter() entrance {
	a, most := b.account, b.plan.terms.MaxInFlight
	if most == 0 {
		if b.entered.Add(1) < 0 {
			return moved
		}
		return entered
	}
	for {
		if b.state.Load() < 0 { // the bound may be another by now
			return moved
		}
		n := a.bounded.Load()
		if n+b.entered.Load()&^closed-a.left.Load() >= most {
			return refused
		}
		if a.bounded.CompareAndSwap(n, n+1) {
			return entered
		}
	}
}

// abandon says that a request which has entered turns out to be another client's. There may be no account.
func (a *account) abandon() {
	if a != nil {
		a.uncounted.Add(1)
		a.left.Add(1)
	}
}

// admit decides about a request. in is the account in which it has entered, if any, before and after.
// It returns false if the bucket is closed.
func (b *bucket) admit(in **account, now int64, d *Decision) (open bool) {
	p := b.plan
	if *in != b.account {
		(*in).abandon()
		*in = nil
		switch b.enter() {
		case refused:
			b.refuse(now, d)
			return true
		case moved:
			return false
		}
		*in = b.account
	}
	o, open := takeFrom(&b.state, now, &p.rates)
	if !open {
		return false
	}
	p.rates.describe(o, d)
	d.Shadow = p.terms.Shadow
	if !o.allowed {
		d.exceed(Rate)
		b.account.reject(d, &b.account.limited, &b.account.shadowLimited)
		b.account.left.Add(1)
	}
	if p.onTrial {
		b.account.try(now)
	}
	b.see(now)
	return true
}

// reject counts a request that is beyond a limit in one of two counters: the second if it is let
// through.
func (a *account) reject(d *Decision, rejected, passed *atomic.Int64) {
	if !d.Allowed {
		rejected.Add(1)
		return
	}
	passed.Add(1)
	a.shadowInFlight.Add(1)
}

// refuse decides about a request of a client that has as many under way as may be. It takes no
// token.
func (b *bucket) refuse(now int64, d *Decision) {
	p, a := b.plan, b.account
	tick := p.rates.at(now)
	tat := max(b.state.Load()&^closed, tick) // it may be long full
	p.rates.describe(outcome{tat, now, tick, false}, d)
	d.RetryAfter = untilOneEnds
	d.Shadow = p.terms.Shadow
	d.exceed(InFlight)
	a.reject(d, &a.refused, &a.shadowRefused)
	if p.onTrial && d.Allowed { // else no rate would have let it through
		a.try(now)
	}
	b.see(now)
}

// see notes the time of a request. Most find the second noted already.
func (b *bucket) see(now int64) {
	if second := uint32(now/1e9) + 1; b.seen.Load() < second {
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
	case !p.onTrial:
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
	var owed int64
	b.moveTo(next, func(tat int64) (moved int64) {
		moved, owed = carry(&b.plan.rates, tat, b.account.owed, now, &next.plan.rates)
		return moved
	})
	b.account.owed = owed
}

// move makes next what the bucket is, and closes the bucket.
func (b *bucket) move(next *bucket) {
	next.plan, next.account = b.plan, b.account
	b.moveTo(next, func(tat int64) int64 { return tat })
}

// refill makes next the client's bucket, a full one, and closes the old one.
func (b *bucket) refill(next *bucket) {
	b.moveTo(next, func(int64) int64 { return full })
}

// moveTo closes the bucket, which from then on leads to next, in the state that translate makes of the
// final one. Nobody waits. Until the last line, what is under way may be off by the requests that
// have begun since the first and know no bound.
func (b *bucket) moveTo(next *bucket, translate func(tat int64) int64) {
	entered := b.entered.Load()
	next.entered.Store(entered)
	next.seen.Store(b.seen.Load())
	b.next.Store(next)
	for {
		tat := b.state.Load()
		next.state.Store(translate(tat)) // nobody sees it before the next line succeeds
		if b.state.CompareAndSwap(tat, tat|closed) {
			break
		}
	}
	next.entered.Add(b.entered.Or(closed) - entered)
}

// shut closes the bucket, which leads nowhere, and returns the final state, and how many have entered.
func (b *bucket) shut() (tat, entered int64) {
	return b.state.Or(closed), b.entered.Or(closed)
}
