package upstream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"loadbalancer/healthz"
)

// time returns nanoseconds since the pool was made, which are never 0.
func (p *Pool) time(t time.Time) int64 { return max(1, int64(t.Sub(p.budget.start))) }

// Await notes that a request of the client, which began at this time, has been sent to the backend
// and waits for the response's header, until HeaderCame or End is called. It is not called for a
// body that is still being sent: the client decides how long that takes.
func (p *Pool) Await(b *Backend, client uint64, began time.Time) {
	b.outlier.wait(client, p.time(began))
}

// Count counts what an attempt met at the backend, and ejects the backend where that is the last of
// too many failures.
func (p *Pool) Count(b *Backend, r *Result) {
	b.count(r.Status, r.Reason, r.Waited)
	switch {
	case r.failed():
		p.failure(b, r)
	case r.Status != 0:
		b.outlier.success(r, p.time(r.Began))
		if State(b.state.Load()) == Ejected && !p.TakesRequests() {
			p.readmit(b, time.Now()) // a trial has passed, and no other backend is left
		}
	}
}

// failure notes that the backend has failed a request, and ejects it where that is the last of too
// many.
func (p *Pool) failure(b *Backend, r *Result) {
	c := &p.config.Load().Ejection
	if streak, eject := b.outlier.failure(c, r, p.time(r.Began)); eject {
		p.eject(b, time.Now(), fmt.Sprintf("%d failures in a row, the last: %s", streak, r.error()))
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
	b.ejectedBy = cause
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
		w := &b.outlier.window
		if !b.isIn() || w.waiting < 1 && w.answers.Failed == 0 {
			continue
		}
		median, answered := peers(backends, b)
		at := p.time(now)
		switch {
		case healthz.Silent(w.waiting, w.silent < silenceTicks, answered, b.outlier.waitsForOne(at)):
			p.eject(b, now, fmt.Sprintf("%d requests wait, and no byte has come for %s", w.waiting, silenceTicks*watchInterval))
		case w.answers.StandOut(median, b.outlier.served.other(b.outlier.lastFailed.Load(), at, lately)):
			p.eject(b, now, fmt.Sprintf("%d %% of its answers in the last %s have a 5xx status, of its peers' %d %%", w.answers.Share(), windowTicks*watchInterval, median))
		}
	}
}

// peers returns the median share of 5xx of the backends beside b that have answered in the window,
// and whether one has answered since silence counts.
func peers(backends []*Backend, b *Backend) (median int, answered bool) {
	var shares []int
	for _, other := range backends {
		w := &other.outlier.window
		if other == b {
			continue
		}
		answered = answered || w.silent < silenceTicks
		if w.answers.All > 0 {
			shares = append(shares, w.answers.Share())
		}
	}
	if len(shares) == 0 {
		return 0, answered
	}
	slices.Sort(shares)
	return shares[len(shares)/2], answered
}
