package upstream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
)

// time returns nanoseconds since the pool was made, which are never 0.
func (p *Pool) time(t time.Time) int64 { return max(1, int64(t.Sub(p.budget.start))) }

// Count counts what an attempt met at the backend, and ejects the backend where that is the last of
// too many failures.
func (p *Pool) Count(b *Backend, r *Result) {
	b.count(r.Status, r.Reason, r.Waited)
	switch {
	case r.failed():
		p.failure(b, r)
	case r.Status != 0:
		b.outlier.success(r, p.time(r.Began))
		if r.Status < 500 {
			p.served.note(r.Client, p.time(r.Began))
		}
		if State(b.state.Load()) == Ejected && !p.TakesRequests() {
			p.readmit(b, time.Now()) // a trial has passed, and no other backend is left
		}
	}
}

// servedBeside returns the clients that were served lately where the clients of the backend are served
// too: anywhere in the pool or, where a client stays at a backend, at that one.
func (p *Pool) servedBeside(b *Backend) *recentClients {
	if p.config.Load().Balance == balance.IPHash {
		return &b.outlier.served
	}
	return &p.served
}

// failure notes that the backend has failed a request, and ejects it where that is the last of too
// many.
func (p *Pool) failure(b *Backend, r *Result) {
	c := &p.config.Load().Ejection
	others := p.servedBeside(b).other(r.client(), p.time(r.Began))
	if streak, eject := b.outlier.failure(c, r, others); eject {
		p.eject(b, time.Now(), fmt.Sprintf("%d failures in a row, the last: %s", streak, r.cause()))
	}
}

// eject takes a backend out for a time, unless it is out already or too many of the pool's are.
func (p *Pool) eject(b *Backend, now time.Time, cause string) {
	c := &p.config.Load().Ejection
	p.marking.Lock()
	defer p.marking.Unlock()
	ejected, in := 0, 0
	for _, other := range p.backends {
		if State(other.state.Load())&Ejected != 0 {
			ejected++
		}
		if other.isIn() {
			in++
		}
	}
	if !b.isIn() || !slices.Contains(p.backends, b) || !c.Allows(ejected, in, len(p.backends)) {
		return
	}
	b.outlier.mu.Lock()
	out := b.outlier.ejector.Eject(c, now)
	b.outlier.mu.Unlock()
	p.mark(b, Ejected, true)
	time.AfterFunc(out, func() {
		if b.outlier.mayReturn(time.Now()) { // otherwise it has returned early, and was ejected again
			p.readmit(b, time.Now())
		}
	})
	p.log.Warn().Str("pool", p.name).Str("backend", b.url.text).Str("cause", cause).Stringer("for", out).Msg("backend is ejected")
}

// readmit ends the ejection of a backend, if it is ejected.
func (p *Pool) readmit(b *Backend, now time.Time) {
	p.marking.Lock()
	defer p.marking.Unlock()
	if State(b.state.Load())&Ejected == 0 {
		return
	}
	b.outlier.mu.Lock()
	b.outlier.ejector.Readmit(now)
	b.outlier.mu.Unlock()
	p.mark(b, Ejected, false)
	p.log.Info().Str("pool", p.name).Str("backend", b.url.text).Msg("backend is no longer ejected")
}

// watchOutliers compares the backends until ctx ends, and ejects those that stand out.
func (p *Pool) watchOutliers(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.compare(n, now)
		}
	}
}

// compare takes the n-th sample of all backends, and ejects those that stand out.
func (p *Pool) compare(n int, now time.Time) {
	backends := p.all()
	for _, b := range backends {
		b.outlier.take(n, &b.codes)
	}
	if p.config.Load().Ejection.Failures == 0 {
		return
	}
	for _, b := range backends {
		if !b.isIn() {
			continue
		}
		if cause := b.outlier.standsOut(backends, p.servedBeside(b), p.time(now)); cause != "" {
			p.eject(b, now, cause)
		}
	}
}

// standsOut returns why the backend of the outlier does not work while the others do, or "". served
// are the clients that were served lately.
func (o *outlier) standsOut(backends []*Backend, served *recentClients, at int64) (cause string) {
	w := &o.window
	if w.silent >= silenceTicks {
		client, others := o.waiters.most()
		if healthz.Silent(w.waiting, o.peersAnswered(backends), others, served.otherCount(client, at)) {
			return fmt.Sprintf("%d requests wait, and no byte has come for %s", w.waiting, silenceTicks*watchInterval)
		}
	}
	for i, a := range w.answers {
		if a.Failed == 0 {
			continue
		}
		others := served.other(o.failed.last.Load(), at)
		if a.Turns > 0 { // several have met failures: of these it may be any
			others = o.served.other(healthz.AnyClient, at)
		}
		if median := o.peersShare(backends, i); a.StandOut(median, others) {
			return fmt.Sprintf("%d %% of its answers in the last %s have a 5xx status, of its peers' %d %%", a.Share(), time.Duration(spans[i])*watchInterval, median)
		}
	}
	return ""
}

// peersAnswered reports whether another of the backends has answered since silence counts.
func (o *outlier) peersAnswered(backends []*Backend) bool {
	return slices.ContainsFunc(backends, func(b *Backend) bool { return &b.outlier != o && b.outlier.window.quiet < silenceTicks })
}

// peersShare returns the median share of 5xx of the other backends that have answered in the i-th
// of the spans.
func (o *outlier) peersShare(backends []*Backend, i int) (median int) {
	var shares []int
	for _, b := range backends {
		if a := b.outlier.window.answers[i]; &b.outlier != o && a.All > 0 {
			shares = append(shares, a.Share())
		}
	}
	if len(shares) == 0 {
		return 0
	}
	slices.Sort(shares)
	return shares[len(shares)/2]
}
