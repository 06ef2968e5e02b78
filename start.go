package main

import (
	"context"
	_ "embed"
	"errors"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"loadbalancer/bench/backend"
	"loadbalancer/management"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/upstream"
)

// start makes the parts, runs them until ctx ends or one of them fails, and returns when all have
// ended.
func start(ctx context.Context, c config, r *reloads, o options, log zerolog.Logger, lines *logQueue, format *logFormat) error {
	limitMemory(log)
	hangups := make(chan os.Signal, 1) // one that comes before all runs counts, too
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	p, err := newParts(ctx, c, r, log, format)
	if err != nil {
		return unlessEnded(ctx, err, log)
	}
	defer p.close()
	m := management.New(management.Parts{
		API: p.api, Balancer: p.balancer, Limits: p.limits, Clients: p.service, Reload: r.management(),
		LogDropped: lines.Dropped, Version: currentBuild().version, Log: log,
	})

	group, ctx := errgroup.WithContext(ctx)
	run := func(ctx context.Context, f func(context.Context)) {
		group.Go(func() error {
			f(ctx)
			return nil
		})
	}
	saved := make(chan struct{}, 1)
	if o.watch {
		text := r.text
		run(ctx, func(ctx context.Context) { watchFile(ctx, r.path, text, log, saved) })
	}
	run(ctx, func(ctx context.Context) { r.run(ctx, hangups, saved, p.apply) })
	// The management side outlives the signal that ends the process: /readyz must tell of it. It
	// ends with the listener, and the store with it, so that a successor finds both free while this
	// process still drains. The fake backends answer the last requests.
	accepting, closed := context.WithCancel(context.WithoutCancel(ctx))
	draining, drained := context.WithCancel(context.WithoutCancel(ctx))
	if o.demo {
		startDemo(draining, group, demoListeners(c.Pools, log))
	}
	run(ctx, p.balancer.RunChecks)
	run(accepting, p.api.Run)
	group.Go(func() error { return errors.Join(m.Serve(accepting, p.back), p.closeStore()) })
	group.Go(func() error {
		defer drained()
		err := p.balancer.Serve(ctx, p.front)
		closed()
		if err != nil {
			return err
		}
		return p.balancer.Drain()
	})
	p.logStart(c)
	defer beside(func(ended context.Context) { r.supervisor.run(ctx, ended, p.alive) })()
	err = group.Wait()
	p.balancer.LogCounters()
	log.Info().Msg("stopped")
	return err
}

// unlessEnded returns the error, or nil if it was caused by a shutdown while the store did not
// answer yet.
func unlessEnded(ctx context.Context, err error, log zerolog.Logger) error {
	if ctx.Err() != nil {
		log.Info().Str("cause", context.Cause(ctx).Error()).Msg("stopped before it served")
		return nil
	}
	return err
}

// startDemo serves a fake backend on each listener until ctx ends.
func startDemo(ctx context.Context, group *errgroup.Group, listeners []net.Listener) {
	for _, ln := range listeners {
		group.Go(func() error {
			return backend.Serve(ctx, ln, backend.Options{Name: ln.Addr().String()})
		})
	}
}

// demoListeners listens on the backends' loopback addresses that are free.
func demoListeners(pools map[string]upstream.PoolConfig, log zerolog.Logger) (listeners []net.Listener) {
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		for _, b := range pools[name].Backends {
			host, _, err := net.SplitHostPort(b.URL.Address())
			if ip := net.ParseIP(host); err != nil || host != "localhost" && !ip.IsLoopback() {
				continue
			}
			if ln, err := net.Listen(b.URL.Network(), b.URL.Address()); err == nil {
				listeners = append(listeners, listen.Patient(ln, log))
			}
		}
	}
	log.Info().Int("started", len(listeners)).Msg("demo backends")
	return listeners
}
