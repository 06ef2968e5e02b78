package limiter

// plan is a client's terms prepared for requests. It never changes, and clients with the same terms
// share one: there are few distinct terms, so plans stay in the processor's cache.
type plan struct {
	terms   Terms
	rates   rates
	each    bool   // terms has Each and not Blocked
	bound   int64  // of the client's requests in flight; 0: none, or one for each address
	onTrial bool   // terms has a Trial
	share   *Share // nil: the limit is of this instance
	trial   rates  // rates of terms.Trial
	clients int    // clients with the plan; guarded by Limiter.registering
}

// prepare gives the account what requests with the plan need.
func (p *plan) prepare(a *account) {
	if p.onTrial || p.terms.Shadow || p.terms.Blocked || p.terms.Each {
		a.extras()
	}
}

// plans holds the plans in use. Limiter.registering guards it.
type plans map[Terms]*plan

// use returns the plan of the terms and counts one more client for it.
func (all plans) use(t Terms, s *Share) *plan {
	p := all[t]
	if p == nil {
		p = &plan{terms: t, rates: prepare(t.Limit), each: t.Each && !t.Blocked, bound: t.MaxInFlight}
		if t.Each {
			p.bound = 0
		}
		if !t.Shadow && !t.Blocked && !t.Each {
			p.share = s
		}
		if t.Trial != (Limit{}) {
			p.onTrial, p.trial = true, prepare(t.Trial)
		}
		all[t] = p
	}
	p.clients++
	return p
}

// drop counts one client less for the plan, and forgets it after the last.
func (all plans) drop(p *plan) {
	if p.clients--; p.clients == 0 {
		delete(all, p.terms)
	}
}
