package upstream

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
)

// BackendState is how a backend stands now.
type BackendState struct {
	Backend  string `json:"backend"`                 // its URL; of a name, that of an address
	From     string `json:"resolved_from,omitempty"` // the URL with the name that leads there
	State    string `json:"state"`                   // up, or why it takes no requests: down, ejected, or both with a comma; unresolved: the name leads nowhere
	Cause    string `json:"cause,omitempty"`         // how its checks fail, as healthz.Cause says it, or its look-ups; "": they do not
	Rank     int    `json:"rank,omitempty"`          // it takes requests only while none of a lower rank does
	Weight   int    `json:"weight"`
	Backup   bool   `json:"backup,omitempty"`
	InFlight int64  `json:"in_flight"`
}

// States returns how the pool's backends stand, in the order of the config, and then the names that
// lead to no address.
func (p *Pool) States() []BackendState { return append(p.backendStates(), p.unresolved()...) }

// unresolved returns the backends of the config whose names lead to no address.
func (p *Pool) unresolved() (all []BackendState) {
	for _, c := range p.config.Load().Backends {
		if c.URL.lookup == (question{}) {
			continue
		}
		if targets, err := p.names.found(c.URL.lookup); len(addresses(targets)) == 0 {
			s := BackendState{Backend: c.URL.text, State: "unresolved", Weight: c.Weight}
			if err != nil {
				s.Cause = lookupCause(err)
			}
			all = append(all, s)
		}
	}
	return all
}

// lookupCause returns how a look-up has failed.
func lookupCause(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no_such_name"
	}
	return healthz.NoAnswer.String()
}

func (p *Pool) backendStates() []BackendState {
	p.marking.Lock()
	defer p.marking.Unlock()
	states := make([]BackendState, len(p.backends))
	for i, b := range p.backends {
		states[i] = BackendState{
			Backend: b.url.text, From: b.url.from, State: State(b.state.Load()).String(), Rank: b.rank % backupRank, Weight: b.weight, Backup: b.rank >= backupRank,
			InFlight: b.load.InFlight.Load(),
		}
		if v := b.verdict.Load(); v != nil && v.Down {
			states[i].Cause = v.Cause.String()
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
