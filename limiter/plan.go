package limiter

// plan is what a client's terms come to on the request path. It never changes, and clients with
// the same terms share one: few plans are sold, and they stay in the processor's cache.
type plan struct {
	terms   Terms
	rates   rates
	onTrial bool  // there is a terms.Trial
	trial   rates // of it
	clients int   // that have it; guarded by Limiter.registering
}

// plans holds the plans that clients have. Limiter.registering guards it.
type plans map[Terms]*plan

// use returns the plan of the terms, on behalf of one client.
func (all plans) use(t Terms) *plan {
	p := all[t]
	if p == nil {
		p = &plan{terms: t, rates: prepare(t.Limit)}
		if t.Trial != (Limit{}) {
			p.onTrial, p.trial = true, prepare(t.Trial)
		}
		all[t] = p
	}
	p.clients++
	return p
}

// drop says that one client does not have the plan any more.
func (all plans) drop(p *plan) {
	if p.clients--; p.clients == 0 {
		delete(all, p.terms)
	}
}
