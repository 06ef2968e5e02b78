package upstream

import (
	"sync/atomic"

	"loadbalancer/proxy/balance"
)

// BackendState is how a backend stands now.
type BackendState struct {
	Backend  string `json:"backend"` // its URL
	State    string `json:"state"`   // up or down
	Weight   int    `json:"weight"`
	InFlight int64  `json:"in_flight"`
}

// States returns how the pool's backends stand, in the order of the config.
func (p *Pool) States() []BackendState {
	p.marking.Lock()
	defer p.marking.Unlock()
	states := make([]BackendState, len(p.backends))
	for i, b := range p.backends {
		states[i] = BackendState{Backend: b.url.text, State: "up", Weight: b.weight, InFlight: b.inFlight.Load()}
		if !b.takesRequests() {
			states[i].State = "down"
		}
	}
	return states
}

// Policy returns the policy that picks a backend.
func (p *Pool) Policy() balance.Policy { return p.current.Load().policy }

// HostOf is Host of the backend with this URL, which may be "".
func (p *Pool) HostOf(url string) string {
	u, _ := ParseURL(url)
	return p.config.Load().Host.of(u)
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
	members := make([]balance.Member, len(s.backends))
	p.marking.Lock() // weights may change
	for i, b := range s.backends {
		members[i] = balance.Member{Weight: b.weight, Hash: b.hash, InFlight: &b.inFlight}
	}
	p.marking.Unlock()
	return s.backends[s.policy.Pick(balance.NewSet(members, &turn), key)].url.text
}
