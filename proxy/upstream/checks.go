package upstream

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"loadbalancer/healthz"
)

// Run checks and compares the backends, and looks up their names, until ctx ends, and returns once
// none of that is running. It marks and logs those that go down, are ejected or come back. It is
// called once, and says what its checks cannot see.
func (p *Pool) Run(ctx context.Context) {
	p.noteChecks(nil, p.config.Load())
	var watch sync.WaitGroup
	watch.Go(func() { p.watchOutliers(ctx) })
	watch.Go(func() { p.names.run(ctx) })
	p.checks.Run(ctx)
	watch.Wait()
}

// target returns the backend as a target of the health checks.
func (p *Pool) target(b *Backend) healthz.Target {
	name := b.url.text
	if b.url.from != "" {
		name += " (" + b.url.from + ")"
	}
	return healthz.Target{
		Name: name, Network: b.url.network, Address: b.url.address, Host: b.url.host, HTTP2: b.url.http2, Secure: b.secureCheck(),
		Report: func(v healthz.Verdict) { p.report(b, v) },
	}
}

// secureCheck returns what makes the connections of a backend's checks ones of TLS, or nil. It goes
// by the pool's config of the time.
func (b *Backend) secureCheck() healthz.Secure {
	if !b.url.IsSecure() {
		return nil
	}
	return func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		return b.conns.idle.Load().tls.secureCheck(ctx, conn)
	}
}

// report keeps the verdict of a check. It takes a backend out, with the cause, or brings it back.
func (p *Pool) report(b *Backend, v healthz.Verdict) {
	before := b.verdict.Swap(&v)
	if v.Err != nil {
		b.outlier.noteError(lastError{at: time.Now(), cause: v.Err})
	}
	// First what takes it out: it must not take requests in between.
	bit, other := Down, Unfit
	if v.Cause.Answered() {
		bit, other = Unfit, Down
	}
	p.markChange(b, bit, v.Down)
	p.markChange(b, other|Unproven, false)
	switch wasDown := before != nil && before.Down; {
	case v.Down && !wasDown:
		if bit == Down {
			b.lookAgain()
		}
		p.log.Warn().Str("pool", p.name).Str("backend", b.url.text).AnErr("cause", v.Err).Msg("backend is out")
	case wasDown && !v.Down:
		p.log.Info().Str("pool", p.name).Str("backend", b.url.text).Msg("backend is up")
	}
}

// markChange is Mark where the bit changes. Most checks change nothing.
func (p *Pool) markChange(b *Backend, bit State, on bool) {
	if State(b.state.Load())&bit != 0 != on {
		p.Mark(b, bit, on)
	}
}

// distrust makes backends wait for their first check, at most for a time. It is called while
// marking.
func (p *Pool) distrust(added []*Backend, atMost time.Duration) {
	if len(added) == 0 {
		return
	}
	for _, b := range added {
		b.become(State(b.state.Load()) | Unproven)
	}
	time.AfterFunc(atMost, func() {
		for _, b := range added {
			p.markChange(b, Unproven, false)
		}
	})
}

// trustUnlessOthersTake ends the wait for first checks where no other backend takes requests: one
// that may work is better than none. It is called while marking.
func (p *Pool) trustUnlessOthersTake() {
	if slices.ContainsFunc(p.backends, (*Backend).isIn) {
		return
	}
	for _, b := range p.backends {
		b.become(State(b.state.Load()) &^ Unproven)
	}
}

// noteChecks logs that the checks of the pool only connect, unless that was said of the config
// before.
func (p *Pool) noteChecks(before, now *PoolConfig) {
	if now.Health.OnlyConnects() && (before == nil || !before.Health.OnlyConnects()) {
		p.log.Info().Str("pool", p.name).Str("set", "pools."+p.name+".health.path, such as /healthz").
			Msg("health checks only connect: a backend that accepts connections counts as up, even if it answers nothing or errors")
	}
}
