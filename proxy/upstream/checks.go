package upstream

import (
	"context"
	"sync"

	"loadbalancer/healthz"
)

// Run checks and compares the backends until ctx ends, and returns once no check is running. It
// marks and logs those that go down, are ejected or come back. It is called once.
func (p *Pool) Run(ctx context.Context) {
	var watch sync.WaitGroup
	watch.Go(func() { p.watchOutliers(ctx) })
	p.checks.Run(ctx)
	watch.Wait()
}

// target returns the backend as a target of the health checks.
func (p *Pool) target(b *Backend) healthz.Target {
	return healthz.Target{
		Name: b.url.text, Network: b.url.network, Address: b.url.address, Host: b.url.host,
		Report: func(up bool, cause error) { p.report(b, up, cause) },
	}
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
