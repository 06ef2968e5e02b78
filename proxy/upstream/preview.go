package upstream

import (
	"sync/atomic"
	"time"

	"loadbalancer/proxy/balance"
)

// BackendState is how a backend stands now.
type BackendState struct {
	Backend  string `json:"backend"`         // its URL
	State    string `json:"state"`           // up, or why it takes no requests: down, ejected, or both with a comma
	Cause    string `json:"cause,omitempty"` // how its checks fail, as healthz.Cause says it; "": they do not
	Weight   int    `json:"weight"`
	Backup   bool   `json:"backup,omitempty"`
	InFlight int64  `json:"in_flight"`
}

// States returns how the pool's backends stand, in the order of the config.
func (p *Pool) States() []BackendState {
	p.marking.Lock()
	defer p.marking.Unlock()
	states := make([]BackendState, len(p.backends))
	for i, b := range p.backends {
		states[i] = BackendState{Backend: b.url.text, State: State(b.state.Load()).String(), Weight: b.weight, Backup: b.backup, InFlight: b.load.InFlight.Load()}
		if v := b.verdict.Load(); v != nil && v.Down {
			states[i].Cause = v.Cause.String()
		}
	}
	return states
}

// Policy returns the policy that picks a backend.
func (p *Pool) Policy() balance.Policy { return p.current.Load().policy }

// PreviewNamed returns the URL of the backend that a client is kept at whose cookie has this value,
// or "".
func (p *Pool) PreviewNamed(value []byte) string {
	if b := p.current.Load().at(value); b != nil {
		return b.url.text
	}
	return ""
}

// Preview returns the URL of the backend that a request of the client with this key would get now,
// or "" if none takes requests. It takes no turn and counts nothing. With a policy that draws, the
// next request may get another.
func (p *Pool) Preview(key uint64) string {
	s := p.current.Load()
	if len(s.backends) == 0 {
		return ""
	}
	var turn atomic.Uint64
	turn.Store(p.turn.Load())
	return s.backends[s.pick(balance.NewSet(s.policy, s.members, &turn), key, time.Now())].url.text
}
