package main

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"loadbalancer/management"
)

// life is what runs: a group, whose first failure ends all of it, and contexts that end one after
// another.
type life struct {
	group *errgroup.Group
	// serving ends with the signal or the first failure.
	serving context.Context
	// accepting ends when the listener of clients closes. The management side lives as long, since
	// /readyz must tell of the shutdown delay, and with it the store: a successor finds both free
	// while this process still drains.
	accepting context.Context
	closed    context.CancelFunc
	// draining ends with the last request, which a fake backend may have to answer, and what it spent
	// has to be told.
	draining context.Context
	drained  context.CancelFunc

	asking sync.WaitGroup // what may ask the client store
}

func newLife(ctx context.Context) *life {
	l := &life{}
	l.group, l.serving = errgroup.WithContext(ctx)
	l.accepting, l.closed = context.WithCancel(context.WithoutCancel(ctx))
	l.draining, l.drained = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// run runs f in the group. f returns when ctx has ended.
func (l *life) run(ctx context.Context, f func(context.Context)) {
	l.group.Go(func() error {
		f(ctx)
		return nil
	})
}

// keepStore runs the client store, and releases it when it can no longer be asked.
func (l *life) keepStore(p *parts, shared bool) {
	l.ask(func() error { return p.keepStore(l.serving, l.accepting, shared) })
	l.group.Go(func() error {
		<-l.accepting.Done()
		l.asking.Wait()
		return p.closeStore()
	})
}

// ask runs f in the group. f may ask the client store until it returns.
func (l *life) ask(f func() error) {
	l.asking.Add(1)
	l.group.Go(func() error {
		defer l.asking.Done()
		return f()
	})
}

// tell has the central state told of what requests spend, to the last of them.
func (l *life) tell(p *parts) {
	if p.teller != nil {
		l.group.Go(func() error { return p.teller.Run(l.draining) })
	}
}

// begin has the management side answer, and then waits until clients can be accepted.
func (l *life) begin(p *parts, c config, r *reloads, o options, lines *logQueue) error {
	if err := p.openBack(l.serving, c); err != nil {
		return err
	}
	if err := p.makeBalancer(c); err != nil {
		return err
	}
	m := management.New(management.Parts{
		API: p.api, Balancer: p.balancer, Limits: p.limits, Share: p.share, Clients: p.service, Reload: r.management(), TLS: p.tls,
		Starting: p.stages.awaits, LogDropped: lines.Dropped, Version: currentBuild().version, ConfigPath: p.path, Log: p.log,
	})
	l.ask(func() error {
		p.stages.leaveHeadStart(l.accepting)
		return m.Serve(l.accepting, p.back)
	})
	l.run(l.accepting, p.api.Run)
	l.run(l.accepting, m.RunStatus)
	if o.demo {
		startDemo(l.draining, l.group, demoListeners(c.Pools, p.log))
	}
	l.tell(p)
	l.run(l.serving, p.balancer.RunChecks)
	l.run(l.accepting, p.tls.Run)
	l.run(l.serving, p.issued.Run)
	return p.openFront(l.serving, c)
}

// serve runs the proxy: it accepts clients until serving ends, and then finishes their requests.
func (l *life) serve(p *parts, c config) {
	l.group.Go(func() error {
		defer l.drained()
		err := p.balancer.Serve(l.serving, p.fronts(c)...)
		l.closed()
		if err != nil {
			return err
		}
		return p.balancer.Drain()
	})
}

// abandon ends what runs because the start has failed, waits for it, and returns the first failure.
func (l *life) abandon(err error) error {
	l.group.Go(func() error { return err })
	l.closed()
	l.drained()
	return l.group.Wait()
}
