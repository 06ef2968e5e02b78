package limiter

import (
	"math"
	"sync/atomic"
	"time"
)

// bucket is the token bucket of a registered client, with all that a request reads or writes of it.
// Its plan never changes: new terms are a new bucket, to which the old one, closed, leads. Together
// with the address it fills one cache line; see entry.
type bucket struct {
	state   atomic.Int64 // never 0 once requests can find it
	plan    *plan
	account *account
	next    atomic.Pointer[bucket] // of a closed bucket; nil if the client was deleted
	entered atomic.Int64           // requests that entered without a bound; closed as state is
	seen    atomic.Int32           // second of the last request; see secondOf
}

// account is the part of a registered client that survives changes of its terms.
//
// The requests in flight are those that entered less those that left. If the client has a bound,
// requests enter here rather than in the bucket: a bucket that moves could not pass its count on in
// the same instant, and too many would enter the next one. As left only grows, a request that reads
// what has entered, then left, and then adds to bounded by a compare-and-swap knows the exact
// number.
type account struct {
	bounded   atomic.Int64          // requests that entered under a bound; bucket.entered has the others
	left      atomic.Int64          // requests that entered and ended
	limited   atomic.Int64          // requests that entered and found no token
	refused   atomic.Int64          // requests rejected because of the bound; see counts
	uncounted atomic.Int64          // requests that entered, but were exempt or went to another client; see counts
	named     atomic.Pointer[named] // nil if the client is an address
	extra     atomic.Pointer[extra] // nil unless a plan of the client has asked for it
	owed      int64                 // see carry; guarded by Limiter.registering
}

// extra is the part of an account that few clients need. It is there before a bucket with a plan
// that needs it can be found, and stays.
type extra struct {
	shadowLimited  atomic.Int64 // as account.limited, but admitted because of Terms.Shadow
	shadowRefused  atomic.Int64 // as account.refused, but admitted because of Terms.Shadow
	shadowInFlight atomic.Int64 // in flight because of Terms.Shadow alone; not counted by the bound
	blocked        atomic.Int64 // requests rejected because of Terms.Blocked
	trial          atomic.Pointer[trial]
	table          atomic.Pointer[table] // of a range with Terms.Each; see each.go
}

// extras returns the extra of the account, and makes it if it has none. Limiter.registering is held.
func (a *account) extras() *extra {
	x := a.extra.Load()
	if x == nil {
		x = new(extra)
		a.extra.Store(x)
	}
	return x
}

// trial is the second bucket of a client. It rejects nothing.
type trial struct {
	state   atomic.Int64
	rates   *rates
	limited atomic.Int64 // requests that it would have rejected
}

// Lease is an admitted request of a client whose requests in flight are counted. It is a plain
// value; the zero value, of any other request, releases nothing.
type Lease struct {
	account  *account  // of a registered client
	shadowed bool      // the request counts in extra.shadowInFlight
	underWay *underWay // of an unregistered client, or an address in a range with Terms.Each
	key      uint64    // of that
}

// Release ends the request. It must be called exactly once, from any goroutine.
func (s Lease) Release() {
	if s.underWay != nil {
		s.underWay.leave(s.key)
	}
	switch {
	case s.account == nil:
	case s.shadowed:
		s.account.extra.Load().shadowInFlight.Add(-1)
	default:
		s.account.left.Add(1)
	}
}

// entrance is the result of entering an account.
type entrance uint8

const (
	entered entrance = iota
	refused          // the bound is reached
	moved            // the bucket is closed
)

// enter adds a request to those in flight, if Terms.MaxInFlight permits it.
func (b *bucket) enter() entrance {
	a, most := b.account, b.plan.bound
	if most == 0 {
		if b.entered.Add(1) < 0 {
			return moved
		}
		return entered
	}
	for {
		if b.state.Load() < 0 { // the bound may have changed
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

// abandon takes back the entry of a request that turned out to be another client's. The account may
// be nil.
func (a *account) abandon() {
	if a != nil {
		a.uncounted.Add(1)
		a.left.Add(1)
	}
}

// admit decides a request of the client. in is the account that the request has entered, or nil, and
// is updated. admit returns false if the bucket is closed.
func (b *bucket) admit(c *Client, in **account, now int64, d *Decision) (open bool) {
	p := b.plan
	if p.terms.Blocked {
		(*in).abandon()
		*in = nil
		return b.block(now, d)
	}
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
	var o outcome
	if p.share == nil {
		o, open = takeFrom(&b.state, now, &p.rates)
	} else {
		o, open = b.takeShared(c, now)
	}
	if !open {
		return false
	}
	p.rates.describe(o, d)
	d.Shadow = p.terms.Shadow
	if !o.allowed {
		d.exceed(Rate)
		b.account.reject(d)
		b.account.left.Add(1)
	}
	if p.onTrial {
		b.account.try(now)
	}
	b.see(now)
	return true
}

// reject counts a request that exceeds a limit, be it rejected or admitted by shadow mode.
func (a *account) reject(d *Decision) {
	limited, refused := &a.limited, &a.refused
	if d.Allowed {
		x := a.extra.Load()
		limited, refused = &x.shadowLimited, &x.shadowRefused
		x.shadowInFlight.Add(1)
	}
	if d.Exceeded == InFlight {
		refused.Add(1)
	} else {
		limited.Add(1)
	}
}

// block rejects a request of a blocked client. It takes no token, and the request does not enter.
// block returns false if the bucket is closed.
func (b *bucket) block(now int64, d *Decision) (open bool) {
	if b.state.Load() < 0 {
		return false
	}
	b.account.extra.Load().blocked.Add(1)
	b.see(now)
	*d = Decision{Exceeded: Blocked}
	return true
}

// refuse decides a request of a client whose bound is reached. It takes no token.
func (b *bucket) refuse(now int64, d *Decision) {
	p, a := b.plan, b.account
	tick := p.rates.at(now)
	tat := max(b.state.Load()&^closed, tick) // it may have been full for long
	p.rates.describe(outcome{tat, now, tick, false}, d)
	d.RetryAfter = untilOneEnds
	d.Shadow = p.terms.Shadow
	d.exceed(InFlight)
	a.reject(d)
	if p.onTrial && d.Allowed { // if rejected, no rate would have admitted it
		a.try(now)
	}
	b.see(now)
}

// see records the time of a request. Most requests find their second recorded already.
func (b *bucket) see(now int64) {
	if second := secondOf(now); b.seen.Load() < second {
		b.seen.Store(second)
	}
}

// secondOf returns the second, counted from 1 at base and from -1 before it. 0 stands for none, and
// for a moment before what restored counts can tell.
func secondOf(now int64) int32 {
	if now >= 0 {
		return int32(now/1e9) + 1
	}
	return int32(max(-math.MaxInt32, (now+1)/1e9-1))
}

// timeOf returns the time of a second that is not 0.
func (l *Limiter) timeOf(second int32) time.Time {
	if second > 0 {
		second--
	}
	return l.base.Add(time.Duration(second) * time.Second)
}

// try takes a token from the trial bucket, if there is one.
func (a *account) try(now int64) {
	if t := a.extra.Load().trial.Load(); t != nil {
		if o, _ := takeFrom(&t.state, now, t.rates); !o.allowed {
			t.limited.Add(1)
		}
	}
}

// setTrial gives the client the trial bucket of its plan, a full one. A trial with the same limit
// is kept.
func (a *account) setTrial(p *plan) {
	x := a.extra.Load()
	if x == nil { // it has no trial, and needs none
		return
	}
	old := x.trial.Load()
	switch {
	case !p.onTrial:
		x.trial.Store(nil)
	case old == nil || *old.rates != p.trial:
		x.trial.Store(newTrial(&p.trial))
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

// replace makes next the client's bucket, translating the state from the old plan to that of next,
// and closes the old one.
func (b *bucket) replace(next *bucket, now int64) { b.replaceBy(next, now, func(int64) {}) }

// replaceBy is replace, and calls first with the state of next before requests can find that.
func (b *bucket) replaceBy(next *bucket, now int64, first func(tat int64)) {
	var owed int64
	b.moveTo(next, func(tat int64) (moved int64) {
		moved, owed = carry(&b.plan.rates, tat, b.account.owed, now, &next.plan.rates)
		first(moved)
		return moved
	})
	b.account.owed = owed
}

// move copies the bucket to next, which leaves the state as it is, and closes the bucket.
func (b *bucket) move(next *bucket) {
	next.plan, next.account = b.plan, b.account
	b.moveTo(next, func(tat int64) int64 { return tat })
}

// refill makes next, full, the client's bucket, and closes the old one.
func (b *bucket) refill(next *bucket) {
	b.moveTo(next, func(int64) int64 { return full })
}

// moveTo closes the bucket and makes it lead to next, whose state is the translation of the final
// one. No request waits. Between the first and the last line, the number of requests in flight may
// be off by those that entered meanwhile without a bound.
func (b *bucket) moveTo(next *bucket, translate func(tat int64) int64) {
	entered := b.entered.Load()
	next.entered.Store(entered)
	next.seen.Store(b.seen.Load())
	b.next.Store(next)
	for {
		tat := b.state.Load()
		next.state.Store(translate(tat)) // not visible until the next line succeeds
		if b.state.CompareAndSwap(tat, tat|closed) {
			break
		}
	}
	next.entered.Add(b.entered.Or(closed) - entered)
}

// current returns the bucket to which lookups lead by this one, the first that they found: that one
// or, if it is closed, its next. It returns nil if the client was deleted.
func (b *bucket) current() *bucket {
	if b.state.Load() < 0 {
		return b.next.Load()
	}
	return b
}

// latest returns the bucket to which this one leads in the end, or nil if the client was deleted.
// Limiter.registering is held.
func (b *bucket) latest() *bucket {
	for b != nil && b.state.Load() < 0 {
		b = b.next.Load()
	}
	return b
}

// shut closes the bucket, which leads nowhere, and returns its final state and entered.
func (b *bucket) shut() (tat, entered int64) {
	return b.state.Or(closed), b.entered.Or(closed)
}
