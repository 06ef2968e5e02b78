package limiter

import "time"

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
	LastSeen      time.Time // time of the last request, to the second; zero if there was none
}

// Usage returns the usage of the client. ok is false if it is not registered.
func (l *Limiter) Usage(id ID) (u Usage, ok bool) {
	return l.usage(id, l.since(time.Now()))
}

func (l *Limiter) usage(id ID, now int64) (u Usage, ok bool) {
	id = canonical(id)

	l.registering.Lock()
	defer l.registering.Unlock()
	b := l.current(id)
	if b == nil {
		return Usage{}, false
	}
	a := b.account
	c := a.counts(b)
	u.InFlight = b.inFlight()
	// It is below 0 if a reset came between the entry of a request and its rejection.
	u.Allowed = max(0, c.allowed)
	u.Limited, u.ShadowLimited, u.Blocked = c.limited, c.shadowed, c.blocked
	u.Tokens = b.plan.rates.tokens(b.state.Load(), now)
	if x := a.extra.Load(); x != nil {
		u.InFlight += x.shadowInFlight.Load()
		if t := x.trial.Load(); t != nil {
			u.TrialLimited = t.limited.Load()
		}
	}
	if second := b.seen.Load(); second > 0 {
		u.LastSeen = l.base.Add(time.Duration(second-1) * time.Second)
	}
	return u, true
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
