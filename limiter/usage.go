package limiter

import "time"

// Usage is what a registered client has done since the start of the process, its registration or
// the last reset, whichever came last. Each request is counted once, as allowed, limited or
// limited by shadow. Exempt ones are in InFlight alone.
type Usage struct {
	Tokens        float64   // in the bucket now
	Allowed       int64     // requests within the limit
	Limited       int64     // requests rejected, for want of a token or for too many under way
	ShadowLimited int64     // requests that passed because of Terms.Shadow alone
	TrialLimited  int64     // requests that Terms.Trial would have rejected, since it was set
	InFlight      int64     // requests under way now
	LastSeen      time.Time // of the last request, to the second; zero if there was none
}

// Usage returns what the client has done; ok is false if nobody has registered it.
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
	u.InFlight = b.underWay() + a.shadowInFlight.Load()
	u.Allowed = max(0, c.allowed-a.base.allowed) // below if a reset came between a request's entry and its rejection
	u.Limited = c.limited - a.base.limited
	u.ShadowLimited = c.shadowed - a.base.shadowed
	u.Tokens = b.plan.rates.tokens(b.state.Load(), now)
	if t := a.trial.Load(); t != nil {
		u.TrialLimited = t.limited.Load()
	}
	if second := b.seen.Load(); second > 0 {
		u.LastSeen = l.base.Add(time.Duration(second-1) * time.Second)
	}
	return u, true
}

// counts returns what was counted since the client was registered.
func (a *account) counts(b *bucket) counts {
	limited, shadowed, uncounted := a.limited.Load(), a.shadowLimited.Load(), a.uncounted.Load() // before those that they are part of
	return counts{
		allowed:  b.begun() - limited - shadowed - uncounted,
		limited:  limited + a.refused.Load(),
		shadowed: shadowed + a.shadowRefused.Load(),
	}
}

// begun returns how many requests of the client have entered. The bucket is its current one.
func (b *bucket) begun() int64 { return b.entered.Load() + b.account.bounded.Load() }

// underWay returns how many requests of the client are under way. The bucket is its current one.
func (b *bucket) underWay() int64 {
	for left := b.account.left.Load(); ; {
		n := b.begun()
		again := b.account.left.Load()
		if again == left {
			return n - left
		}
		left = again // else those who have left, or those who have entered meanwhile, would be missing
	}
}

// tokens returns what the bucket holds.
func (r *rates) tokens(tat, now int64) float64 {
	spent := max(0, tat-r.at(now))
	return max(0, float64(r.full-spent)/float64(r.token))
}
