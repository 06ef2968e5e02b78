package limiter

import (
	"iter"
	"sync/atomic"
	"time"
)

// Usage counts the requests of a registered client since the start of the process, its registration
// or the last Reset, whichever came last. Each request is counted once, in Allowed, Limited,
// ShadowLimited or Blocked. Exempt requests are in InFlight only, or in Blocked.
type Usage struct {
	Tokens        float64   // in the bucket now, from 0 to the capacity
	Allowed       int64     // requests within the limit
	Limited       int64     // requests rejected, by the rate or by the bound
	ShadowLimited int64     // requests admitted only because of Terms.Shadow
	Blocked       int64     // requests rejected because of Terms.Blocked
	TrialLimited  int64     // requests that Terms.Trial would have rejected, since it was set
	InFlight      int64     // requests in flight now
	Addresses     int64     // with Terms.Each: addresses or IPv6 networks with a bucket; the rest is their sum, Tokens that of a new one
	LastSeen      time.Time // time of the last request, to the second; zero if there was none
}

// Usage returns the usage of the client. ok is false if it is not registered.
func (l *Limiter) Usage(id ID) (u Usage, ok bool) {
	return l.usage(id, l.since(time.Now()))
}

func (l *Limiter) usage(id ID, now int64) (u Usage, ok bool) {
	l.registering.Lock()
	defer l.registering.Unlock()
	b := l.current(canonical(id))
	if b == nil {
		return Usage{}, false
	}
	return l.usageOf(b, now), true
}

// usageOf returns the usage of the client with the bucket, which is its current one. The lock is
// held.
func (l *Limiter) usageOf(b *bucket, now int64) (u Usage) {
	a := b.account
	c := a.counts(b)
	u.InFlight = b.inFlight()
	// It is below 0 if a reset came between the entry of a request and its rejection.
	u.Allowed = max(0, c.allowed)
	u.Limited, u.ShadowLimited, u.Blocked = c.limited, c.shadowed, c.blocked
	u.Tokens = b.plan.rates.tokens(b.state.Load(), now)
	if x := a.extra.Load(); x != nil {
		u.InFlight += x.shadowInFlight.Load()
		if b.plan.terms.Each {
			u.Addresses = max(0, x.table.Load().held.Load())
		}
		if t := x.trial.Load(); t != nil {
			u.TrialLimited = t.limited.Load()
		}
	}
	if second := b.seen.Load(); second != 0 {
		u.LastSeen = l.timeOf(second)
	}
	return u
}

// used reports whether there has been a request.
func (u *Usage) used() bool {
	return u.Allowed|u.Limited|u.ShadowLimited|u.Blocked|u.TrialLimited != 0 || !u.LastSeen.IsZero()
}

// Restore adds the counts of an earlier process to those of the client, as Used has returned them;
// TrialLimited only if the client has a trial. The later LastSeen is kept. Tokens and InFlight are
// ignored. It returns false if the client is not registered.
func (l *Limiter) Restore(id ID, u Usage) (ok bool) {
	l.registering.Lock()
	defer l.registering.Unlock()
	b := l.current(canonical(id))
	if b == nil {
		return false
	}
	b.account.add(counts{u.Allowed, u.Limited, u.ShadowLimited, u.Blocked})
	if x := b.account.extra.Load(); x != nil {
		if t := x.trial.Load(); t != nil {
			t.limited.Add(u.TrialLimited)
		}
	}
	if !u.LastSeen.IsZero() {
		// By the wall clock: another process has read it.
		at := min(u.LastSeen.Round(0).Sub(l.base).Nanoseconds(), l.since(time.Now()))
		later(&b.seen, secondOf(at))
	}
	return true
}

// later makes the second that of the last request, unless there has been a later one.
func later(seen *atomic.Int32, second int32) {
	for {
		last := seen.Load()
		if last != 0 && last >= second || seen.CompareAndSwap(last, second) {
			return
		}
	}
}

// Used returns the registered clients that have had a request since the start of the process, their
// registration or the last Reset, with their usage, in no order. Set, Delete, Reset and Usage wait
// for no more than one client at a time, and none while the loop's body runs, which may call them.
// Clients registered meanwhile may be missing.
func (l *Limiter) Used() iter.Seq2[ID, Usage] {
	return func(yield func(ID, Usage) bool) {
		for _, x := range []*index{l.exact, l.keyed} {
			entries := *x.entries.Load() // if they move to another table, these lead there
			for i := range entries {
				if id, u := l.usageBy(entries[i].owned); u.used() && !yield(id, u) {
					return
				}
			}
		}
		for _, b := range l.ranges.Load().All() {
			if id, u := l.usageBy(func() (*bucket, address) { return b.latest(), address{} }); u.used() && !yield(id, u) {
				return
			}
		}
	}
}

// usageBy returns the client whose bucket is found, with the lock held, and its usage. Without one,
// the usage is zero.
func (l *Limiter) usageBy(found func() (*bucket, address)) (ID, Usage) {
	l.registering.Lock()
	defer l.registering.Unlock()
	b, addr := found()
	if b == nil {
		return ID{}, Usage{}
	}
	return b.account.id(addr), l.usageOf(b, l.since(time.Now()))
}

// counts are numbers of requests by their outcome.
type counts struct{ allowed, limited, shadowed, blocked int64 }

// counts returns the counts since the client was registered or reset. b is its current bucket.
func (a *account) counts(b *bucket) (c counts) {
	// The parts are loaded before the whole that includes them.
	limited, entered := a.limited.Load(), int64(0)
	if x := a.extra.Load(); x != nil {
		entered = x.shadowLimited.Load()
		c.shadowed, c.blocked = entered+x.shadowRefused.Load(), x.blocked.Load()
	}
	uncounted := a.uncounted.Load()
	c.limited = limited + a.refused.Load()
	c.allowed = b.begun() - limited - entered - uncounted
	return c
}

// add adds to the counts, by those parts that nothing else is reckoned from. If that is below 0,
// requests are no longer counted. Limiter.registering is held.
func (a *account) add(c counts) {
	a.uncounted.Add(-c.allowed)
	a.refused.Add(c.limited)
	if c.shadowed != 0 || c.blocked != 0 {
		x := a.extras()
		x.shadowRefused.Add(c.shadowed)
		x.blocked.Add(c.blocked)
	}
}

// restart sets the counts to 0, and ends the trial. b is the current bucket.
func (a *account) restart(b *bucket) {
	c := a.counts(b)
	a.add(counts{-c.allowed, -c.limited, -c.shadowed, -c.blocked})
	if x := a.extra.Load(); x != nil {
		x.trial.Store(nil)
	}
}

// begun returns the number of requests of the client that entered. b is its current bucket.
func (b *bucket) begun() int64 { return b.entered.Load() + b.account.bounded.Load() }

// inFlight returns the number of requests of the client in flight. b is its current bucket.
func (b *bucket) inFlight() int64 {
	for left := b.account.left.Load(); ; {
		n := b.begun()
		again := b.account.left.Load()
		if again == left {
			return n - left
		}
		left = again // requests that left or entered meanwhile would be missing
	}
}

// tokens returns the number of tokens in the bucket.
func (r *rates) tokens(tat, now int64) float64 {
	spent := max(0, tat-r.at(now))
	return max(0, float64(r.full-spent)/float64(r.token))
}
