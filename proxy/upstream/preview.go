package upstream

import (
	"sync/atomic"
	"time"

	"loadbalancer/proxy/balance"
)

// Policy returns the policy that picks a backend.
func (p *Pool) Policy() balance.Policy { return p.current.Load().policy }

// HostOf is Host of the backend with this URL, which may be "".
func (p *Pool) HostOf(url string) string {
	for _, b := range p.all() {
		if b.url.text == url {
			return p.Host(b)
		}
	}
	return p.config.Load().Host.of(URL{})
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
