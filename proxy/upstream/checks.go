package upstream

import (
	"context"

	"loadbalancer/healthz"
)

// Run checks the backends until ctx ends, and returns once no check is running. It marks and logs
// those that go down or come back. It is called once.
func (p *Pool) Run(ctx context.Context) {
	targets := make([]healthz.Target, len(p.backends))
	for i, b := range p.backends {
		targets[i] = healthz.Target{
			Name: b.url.text, Network: b.url.network, Address: b.url.address, Host: b.url.host,
			Report: func(up bool, cause error) { p.report(b, up, cause) },
		}
	}
	healthz.Run(ctx, p.health, targets)
}

// report takes a backend out, with the cause, or brings it back.
func (p *Pool) report(b *Backend, up bool, cause error) {
	p.Mark(b, Down, !up)
	if up {
		p.log.Info().Str("pool", p.name).Str("backend", b.url.text).Msg("backend is up")
	} else {
		p.log.Warn().Str("pool", p.name).Str("backend", b.url.text).AnErr("cause", cause).Msg("backend is out")
	}
}
