package main

import (
	"context"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"loadbalancer/bench/backend"
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
	p, err := newParts(c, r, log, format)
	if err != nil {
		return err
	}
	defer p.close()
	l := newLife(ctx)
	l.keepStore(p, c.Clients.IsShared())
	if err := l.begin(p, c, r, o, lines); err != nil {
		return unlessEnded(ctx, l.abandon(err), log)
	}
	l.serve(p, c)
	close(p.stages.served)
	p.logStart(c)
	r.supervisor.ready()
	saved := make(chan struct{}, 1)
	if o.watch {
		text := r.text
		l.run(l.serving, func(ctx context.Context) { watchFile(ctx, r.path, text, log, saved) })
	}
	r.files = p.tls.Look
	l.run(l.serving, func(ctx context.Context) { r.run(ctx, hangups, saved, p.apply) })
	defer beside(func(ended context.Context) { r.supervisor.run(l.serving, ended, p.alive) })()
	err = l.group.Wait()
	p.balancer.LogCounters()
	log.Info().Msg("stopped")
	return err
}

// unlessEnded returns the error, or nil if it was caused by a shutdown before clients were accepted.
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
			if ip := net.ParseIP(host); err != nil || b.URL.IsSecure() || host != "localhost" && !ip.IsLoopback() {
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
