package upstream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/reason"
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

// servedBeside returns the clients that were served lately where the clients of the backend are
// served too: anywhere in the pool or, where clients belong to their backends, at that one.
func (p *Pool) servedBeside(b *Backend) *recentClients {
	if c := p.config.Load(); c.Balance.ByKey() || c.Sticky.Cookie != "" {
		return &b.outlier.served
	}
	return &p.served
}

// failure notes that the backend has failed a request, and ejects it where that is the last of too
// many. One that could not be reached is tried again soon: a policy that heeds failures sends it
// too few requests to show that it is gone.
func (p *Pool) failure(b *Backend, r *Result) {
	if r.Reason == reason.ConnectFailed || r.Reason == reason.ConnectTimeout {
		b.lookAgain()
	}
	c := &p.config.Load().Ejection
	others := p.servedBeside(b).other(r.client(), p.time(r.Began))
	if streak, eject := b.outlier.failure(c, r, others); eject {
		p.eject(b, time.Now(), fmt.Sprintf("%d failures in a row, the last: %s", streak, r.error()))
	}
	if c.Failures > 0 && r.Reason == reason.ConnectFailed && b.isIn() && b.outlier.confirms.CompareAndSwap(false, true) {
		go p.confirm(b)
	}
}

// The dials that confirm that a backend cannot be reached.
const (
	confirmPause = 50 * time.Millisecond
	confirmMost  = 20
)

// confirm dials a backend that could not be reached until it can be or is out. Each dial that fails
// counts as a failure.
func (p *Pool) confirm(b *Backend) {
	defer b.outlier.confirms.Store(false)
	for i := 0; i < confirmMost && b.isIn(); i++ {
		time.Sleep(confirmPause)
		began := time.Now()
		err := p.reach(b)
		if err == nil {
			return
		}
		if r := (&Result{Reason: reason.ConnectFailed, Cause: err, Began: began}); r.failed() {
			p.failure(b, r)
		}
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
	p.suspect.Store(nil)
	for _, b := range backends {
		b.outlier.take(n, &b.codes)
	}
	if p.config.Load().Ejection.Failures == 0 {
		return
	}
	for _, b := range backends {
		if !b.isIn() || b.outlier.returned.Load() != nil { // or what was sampled is of the time before
			continue
		}
		if cause := b.outlier.standsOut(backends, p.servedBeside(b), p.time(now)); cause != "" {
			p.eject(b, now, cause)
		} else if b.outlier.isSuspect() && b.outlier.peersAnswered(backends) {
			p.suspect.Store(newSuspect(b))
		}
	}
}

// PickSuspect is Pick for a request that may be repeated, if a backend is suspected to be silent:
// it gets as many requests as silence needs to count. Otherwise a policy that sees that requests
// wait there would send it none, and those that wait would do so until their time is over; and a
// backend that works gets something to answer. It returns nil if none is suspected.
func (p *Pool) PickSuspect(began time.Time, tried *Tried) *Backend {
	s := p.suspect.Load()
	if s == nil || tried.has(s.backend) || s.backend.full() || !s.backend.TakesRequests() {
		return nil
	}
	if s.wants.Add(-1) < 0 {
		p.suspect.CompareAndSwap(s, nil) // until the watch looks again
		return nil
	}
	p.note(s.backend, began, tried)
	return s.backend
}

// HasSuspect reports whether PickSuspect may pick a backend.
func (p *Pool) HasSuspect() bool { return p.suspect.Load() != nil }

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
