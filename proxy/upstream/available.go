package upstream

import (
	"slices"
	"time"
)

// available returns which of a pool's backends take requests, given their states. In a panic fewer
// than half of those that should be in are, but at least one: then those that are ejected, or
// answer their checks but not as they should, take requests as well, since the few that are in
// would not bear the load of all. Those that do not answer or that an operator drains never do.
func available(states []State) (takes []bool, panics bool) {
	in, all := 0, 0
	for _, s := range states {
		if s == 0 {
			in++
		}
		if s&(Draining|Unproven) == 0 {
			all++
		}
	}
	takes, panics = make([]bool, len(states)), in > 0 && in*2 < all
	for i, s := range states {
		takes[i] = s == 0 || panics && s&^(Ejected|Unfit) == 0
	}
	return takes, panics
}

// available returns the backends that take requests. It is called while marking.
func (p *Pool) available() (taking []*Backend, panics bool) {
	states := make([]State, len(p.backends))
	for i, b := range p.backends {
		states[i] = State(b.state.Load())
	}
	takes, panics := available(states)
	for i, b := range p.backends {
		if b.takes.Store(takes[i]); takes[i] {
			taking = append(taking, b)
		}
	}
	return taking, panics
}

// drained returns the backends that an operator drains, that would take requests otherwise, and
// whose clients stay for now. It is called while marking, and again once clients of one must move.
func (p *Pool) drained(now time.Time) []*Backend {
	all := slices.DeleteFunc(slices.Clone(p.backends), func(b *Backend) bool {
		return State(b.state.Load()) != Draining || !b.hand.keepsClients(now)
	})
	if p.nextEnd != nil {
		p.nextEnd.Stop()
	}
	if end := firstEnd(all); !end.IsZero() {
		p.nextEnd = time.AfterFunc(end.Sub(now), p.endStays)
	}
	return all
}

// firstEnd returns when the first of the clients that stay at drained backends move, or the zero
// time if none do.
func firstEnd(drained []*Backend) (first time.Time) {
	for _, b := range drained {
		if end := b.hand.Until; first.IsZero() || !end.IsZero() && end.Before(first) {
			first = end
		}
	}
	return first
}

// endStays has clients move whose time at a drained backend is over.
func (p *Pool) endStays() {
	p.marking.Lock()
	defer p.marking.Unlock()
	p.rebuild()
}

// closeDrained closes the idle connections of drained backends, and has none become idle there
// while no client is kept there. It is called while marking.
func (p *Pool) closeDrained(s *snapshot) {
	for _, b := range p.backends {
		b.conns.drain(State(b.state.Load())&Draining != 0 && !s.keeps(b))
	}
}

// trials returns the backends that get a trial where none is in. It is called while marking.
func (p *Pool) trials() []*Backend {
	return slices.DeleteFunc(slices.Clone(p.backends), func(b *Backend) bool {
		return State(b.state.Load())&Draining != 0 || b.weight == 0
	})
}

// notePanic logs that a panic begins or ends.
func (p *Pool) notePanic(before bool, now *snapshot) {
	switch {
	case now.panics && !before:
		p.log.Warn().Str("pool", p.name).Int("backends", len(p.backends)).Int("taking_requests", len(now.backends)).
			Msg("panic: fewer than half of the backends are in, so that those that are ejected or answer their checks take requests")
	case before && !now.panics:
		p.log.Info().Str("pool", p.name).Msg("panic is over: backends that are out take no requests")
	}
}

// trialInterval is how often a backend gets a request while no backend of its pool is in.
const trialInterval = time.Second

// trial returns a backend that takes one request although it is out, because none is in, or nil.
// Each is tried once in a trialInterval.
func (p *Pool) trial(trials []*Backend, tried *Tried, now time.Time) *Backend {
	at := p.time(now)
	for _, b := range trials {
		last := b.lastTrial.Load()
		if (last == 0 || at-last >= int64(trialInterval)) && !tried.has(b) && b.lastTrial.CompareAndSwap(last, at) {
			return b
		}
	}
	return nil
}
