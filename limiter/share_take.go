package limiter

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
)

// takeShared is takeFrom for a registered client that shares its limit.
func (b *bucket) takeShared(c *Client, now int64) (o outcome, open bool) {
	s, r := b.plan.share, &b.plan.rates
	for p := (party{b.account, 0}); ; {
		tat := b.state.Load()
		if tat < 0 {
			return outcome{}, false
		}
		if o, _ := s.fleet.Load().decide(tat, now, r); !o.allowed {
			return o, true
		}
		t, known := s.tallies.Load(p)
		if !known {
			t = s.open(&tally{party: p, name: "client:" + b.account.id(c.address).String()}, b, nil)
		}
		if t.bucket.Load() != b {
			t.bucket.Store(b)
		}
		if o, open, live := s.take(t, &b.state, now, r); live {
			return o, open
		}
		s.forget(t)
	}
}

// takeShared is takeFrom for an unregistered client, or an address in a range with Terms.Each, whose
// limit is shared. Until half of its bucket is spent, no other instance hears of it: a flood of
// addresses that come once would be a flood for the central state.
func (t *table) takeShared(c *Client, key uint64, state *atomic.Int64, now int64) (o outcome, open bool) {
	for p := (party{t.owner, key}); ; {
		tat := state.Load()
		if tat < 0 {
			return outcome{}, false
		}
		f := t.share.fleet.Load()
		o, next := f.decide(tat, now, &t.rates)
		if !o.allowed {
			return o, true
		}
		shared, known := t.share.tallies.Load(p)
		if !known {
			if tat-o.tick <= t.rates.full/2 {
				if state.CompareAndSwap(tat, next) {
					return o, true
				}
				continue
			}
			shared = t.share.openCell(p, t, c, tat-o.tick, f)
		}
		if shared.table.Load() != t {
			shared.table.Store(t)
		}
		if o, open, live := t.share.take(shared, state, now, &t.rates); live {
			return o, open
		}
		t.share.forget(shared)
	}
}

// openCell returns the tally of a client in a table, which owes so many ticks. More than half of a
// bucket and one token cannot have been let through before. It was charged or heard, by the other
// instances as well: the debts count once, rather than what each has spent.
func (s *Share) openCell(p party, in *table, c *Client, owed int64, f *fleet) *tally {
	r, fresh := &in.rates, &tally{party: p, name: s.limiter.nameCell(in.owner, c)}
	cost := r.token
	if f.away {
		cost = r.weigh(f.instances)
	}
	if owed > r.full/2+cost {
		fresh.restore.Store(true)
	} else {
		spent := min((owed+cost-1)/cost, maxUntold/2) // with room for more
		fresh.word.Store(spent)
		if f.away {
			fresh.weighed.Store(true)
			fresh.alone.Store(spent)
		}
	}
	return s.open(fresh, nil, in)
}

// nameCell names, for all instances, an unregistered client or an address in a range.
func (l *Limiter) nameCell(owner *account, c *Client) string {
	within := "default:"
	if owner != nil {
		within = "client:" + owner.id(c.address).String() + ":"
	}
	network := l.network(c.address)
	switch addr := network.addr(); {
	case network == (address{}):
		return within + "unknown"
	case addr.Is4():
		return within + addr.String()
	default:
		return within + netip.PrefixFrom(addr, l.ipv6Prefix).String()
	}
}

// take takes a token of a client whose view has one. It returns open as takeFrom does, and false for
// live if the tally was dropped.
func (s *Share) take(t *tally, state *atomic.Int64, now int64, r *rates) (o outcome, open, live bool) {
	f := s.fleet.Load()
	if f.away {
		return s.takeAlone(t, state, now, r, f, false)
	}
	credit := f.credit(r.capacity, now)
	switch t.reserve(credit) {
	case dropped:
		return outcome{}, true, false
	case exceeds:
		return s.ask(t, state, now, r, f)
	}
	o, open = takeFrom(state, now, r)
	if t.took(open && o.allowed) >= threshold(credit) {
		s.note(t)
		signal(s.due) // even if the tally is noted: that may be for later
	} else if !t.planned.Load() {
		s.note(t) // from now on there is something to tell in time
	}
	return o, open, true
}

// ask waits for the central state to decide.
func (s *Share) ask(t *tally, state *atomic.Int64, now int64, r *rates, f *fleet) (o outcome, open, live bool) {
	w := &waiter{told: make(chan struct{})}
	if !t.join(w) {
		runtime.Gosched() // it is about to be removed
		return outcome{}, true, false
	}
	s.note(t)
	signal(s.asks)
	s.counts.waits.Add(1)
	verdict := w.wait(time.Duration(s.wait.Load()))
	tick := r.at(now)
	switch tat := state.Load() &^ closed; verdict {
	case granted:
		return outcome{min(max(tat, tick+r.token), tick+r.full), now, tick, true}, true, true
	case denied:
		return outcome{max(tat, tick+r.full-r.token+1), now, tick, false}, true, true
	}
	s.counts.timedOut.Add(1)
	s.slow()
	return s.takeAlone(t, state, now, r, f, true)
}

// takeAlone takes a token without the central state. A request that has waited in vain is decided here
// even if the bucket is closed by now, as in the next one it would wait again.
func (s *Share) takeAlone(t *tally, state *atomic.Int64, now int64, r *rates, f *fleet, waited bool) (o outcome, open, live bool) {
	if t.reserve(maxUntold) == dropped {
		return outcome{}, true, false
	}
	for {
		tat := state.Load()
		if tat < 0 && !waited {
			t.took(false)
			return outcome{}, false, true
		}
		o, next := takeWeighed(tat&^closed, now, r, f.instances)
		if !o.allowed {
			t.took(false)
			return o, true, true
		}
		t.weighed.Store(true)
		if tat < 0 || state.CompareAndSwap(tat, next) {
			t.alone.Add(1)
			t.took(true)
			s.note(t)
			return o, true, true
		}
	}
}

// decide asks the bucket in state tat for a token, and returns the state if it is taken.
func (f *fleet) decide(tat, now int64, r *rates) (o outcome, next int64) {
	if f.away {
		return takeWeighed(tat, now, r, f.instances)
	}
	o = take(tat, now, r)
	return o, o.tat
}

// takeWeighed is take for one of several instances that do not hear of each other. All others are
// taken to take a token, too: so each has its part of what is left in the bucket, and of the rate. It
// also returns the state if the token is taken; that of the outcome is in tokens of this instance.
//
// Where there are fewer tokens than instances, each may take one, and then waits for its part of the
// rate.
func takeWeighed(tat, now int64, r *rates, instances int64) (o outcome, next int64) {
	tick, cost := r.at(now), r.weigh(instances)
	spent, most := max(0, tat-tick), max(0, r.full-cost) // most: with more spent, there is no token
	if spent > most {
		return outcome{r.leaving(0, tick+spent-most), now, tick, false}, tat
	}
	left := (most - spent) / cost
	wait := spent + cost - (most - left*cost) // until there is one more
	if left > 0 {
		wait = min(wait, r.token) // an outcome says no more
	}
	return outcome{r.leaving(left, tick+wait), now, tick, true}, tick + spent + cost
}

// leaving returns the state of a bucket with so many whole tokens, which has another one at a tick.
func (r *rates) leaving(tokens, next int64) int64 {
	return next + r.full - r.ticks(tokens+1)
}

// maxCost bounds what a token costs: with it, a state stays below 2^63.
const maxCost = 1 << 60

// weigh returns the ticks of a token of each instance.
func (r *rates) weigh(instances int64) int64 {
	return r.ticks(min(instances, maxCost>>r.shift))
}
