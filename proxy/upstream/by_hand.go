package upstream

import (
	"maps"
	"slices"
	"time"
)

// Drain sends a backend, named by its address or URL, no new requests. Clients that are kept there
// stay until a time or, with the zero time, until Resume; so do its idle connections, which are
// closed at once where no client is kept. Requests under way go on. A second call sets another
// time. It returns how the backend stands, and whether the pool has it.
func (p *Pool) Drain(name string, until time.Time) (BackendState, bool) {
	return p.set(name, func(b *Backend) Setting { return b.hand.drain(time.Now(), until) })
}

// Resume ends what Drain began. The backend comes back as after an outage: see slow_start.
func (p *Pool) Resume(name string) (BackendState, bool) {
	return p.set(name, func(b *Backend) Setting { return b.hand.resume() })
}

// SetWeight gives a backend a weight that CheckWeight allows, which counts until the config gets
// another for the backend.
func (p *Pool) SetWeight(name string, weight int) (BackendState, bool) {
	return p.set(name, func(b *Backend) Setting { return b.hand.weigh(weight, b.ofConfig) })
}

// set changes what is set of a backend by hand.
func (p *Pool) set(name string, change func(*Backend) Setting) (BackendState, bool) {
	p.marking.Lock()
	i := slices.IndexFunc(p.backends, func(b *Backend) bool { return b.url.address == name || b.url.text == name })
	if i < 0 {
		p.marking.Unlock()
		return BackendState{}, false
	}
	b := p.backends[i]
	b.hand = change(b)
	b.hand.From = b.url.from
	b.weight = b.hand.weight(b.ofConfig)
	p.unsaved = true
	p.mark(b, Draining, !b.hand.Drained.IsZero())
	p.marking.Unlock()
	return p.stateOf(b)
}

// stateOf returns how a backend stands, unless the pool has it no more.
func (p *Pool) stateOf(b *Backend) (BackendState, bool) {
	backends, states := p.marked()
	i := slices.Index(backends, b)
	if i < 0 {
		return BackendState{}, false
	}
	b.report(&states[i])
	return states[i], true
}

// Restore gives the backends what was set of them by hand before the process or the pool began, by
// their URLs. It is called before the pool is used.
func (p *Pool) Restore(settings map[string]Setting) {
	p.marking.Lock()
	defer p.marking.Unlock()
	maps.Copy(p.absent, settings)
	for _, b := range p.backends {
		p.claim(b)
		p.heedHand(b)
		if !b.hand.isZero() {
			p.log.Info().Str("pool", p.name).Str("backend", b.url.text).Str("state", State(b.state.Load()).String()).
				Int("weight", b.weight).Int("configured_weight", b.ofConfig).Msg("backend is as an operator has set it before")
		}
	}
	p.rebuild()
}

// Settings returns what operators have set of backends by hand, by their URLs: also of those that
// the config has no more, in case that it has them again.
func (p *Pool) Settings() map[string]Setting {
	p.marking.Lock()
	defer p.marking.Unlock()
	all := maps.Clone(p.absent)
	for _, b := range p.backends {
		if !b.hand.isZero() {
			all[b.url.text] = b.hand
		}
	}
	return all
}

// Forget drops what was set of backends that the config has no more. Those that a name of the
// config has led to may come back.
func (p *Pool) Forget() {
	p.marking.Lock()
	defer p.marking.Unlock()
	maps.DeleteFunc(p.absent, func(url string, s Setting) bool {
		if slices.ContainsFunc(p.config.Load().Backends, func(c BackendConfig) bool { return c.URL.text == s.From }) {
			return false
		}
		p.log.Info().Str("pool", p.name).Str("backend", url).Msg("what was set by hand is dropped: the config no longer has the backend")
		return true
	})
}

// TakeUnsaved reports whether what was set by hand has changed since the call before.
func (p *Pool) TakeUnsaved() bool {
	p.marking.Lock()
	defer p.marking.Unlock()
	unsaved := p.unsaved
	p.unsaved = false
	return unsaved
}
