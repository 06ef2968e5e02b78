package main

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"loadbalancer/bench/backend"
	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/management"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/upstream"
)

// description is the API's, for its callers.
//
//go:embed docs/swagger.yaml
var description []byte

// start makes the components, runs them until ctx ends or one of them fails, and returns when all
// have ended.
func start(ctx context.Context, c config, path string, demo bool, log zerolog.Logger, lines *logQueue) error {
	front, err := listen.Open("server.listen", c.Server.Listen, c.Server.UnixMode, log)
	if err != nil {
		return err
	}
	defer front.Close()
	back, err := c.Management.Open(log)
	if err != nil {
		return err
	}
	if back != nil {
		defer back.Close()
	}
	limits := limiter.New(c.Limiter.Config)
	service, err := c.openClients(ctx, limits, log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	if service != nil {
		defer service.Close()
	}

	c.Management.Warn(front.Addr(), log)
	api := management.NewAPI(c.Management, proxy.NewTrust(c.Server.ServerConfig), service, description, log)
	balancer := proxy.New(c.proxyOptions(limits, api.OnProxy(c.Management), log))
	m := management.New(c.Management, api, balancer, limits, lines.Dropped, log)

	group, ctx := errgroup.WithContext(ctx)
	// Two things outlive the proxy: the management side, whose /readyz must report the drain, and
	// the fake backends, which answer the last requests.
	outlive, drained := context.WithCancel(context.WithoutCancel(ctx))
	if demo {
		startDemo(outlive, group, demoListeners(c.Pools, log))
	}
	group.Go(func() error {
		balancer.RunChecks(ctx)
		return nil
	})
	if back != nil {
		log.Info().Str("listen", back.Addr().String()).Bool("api_on_proxy", c.Management.APIOnProxy).Msg("management")
		group.Go(func() error { return m.Serve(outlive, back) })
	}
	group.Go(func() error {
		api.Run(outlive)
		return nil
	})
	group.Go(func() error {
		defer drained()
		return balancer.Serve(ctx, front)
	})
	log.Info().Str("config", path).Str("listen", front.Addr().String()).Int("pools", len(c.Pools)).
		Str("limits", c.limitsInWords()).Msg("proxy")
	err = group.Wait()
	log.Info().Msg("stopped")
	return err
}

// openClients opens the client store. If clients are neither limited nor managed it returns nil: a
// bare proxy needs neither a file nor a database.
func (c *config) openClients(ctx context.Context, limits *limiter.Limiter, log zerolog.Logger) (*clients.Service, error) {
	if !c.Limiter.Enabled && c.Management.Listen.IsZero() && !c.Management.APIOnProxy {
		return nil, nil
	}
	return clients.Open(ctx, c.Clients, limits, func() bool { return c.Limiter.KeyField() != "" }, log)
}

// unlessEnded returns the error, or nil if it was caused by a shutdown while the store did not
// answer yet.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// proxyOptions returns the proxy's part of the config.
func (c *config) proxyOptions(limits *limiter.Limiter, api *proxy.API, log zerolog.Logger) proxy.Options {
	o := proxy.Options{Server: c.Server.ServerConfig, Pools: c.Pools, Routes: c.Routes, API: api, Access: c.Log.Access, Log: log}
	if c.Limiter.Enabled {
		o.Limiter, o.Exempt = limits, c.Limiter.Exempt
		o.LimitFields, o.KeyField = c.Limiter.Fields(), c.Limiter.KeyField()
	}
	return o
}

func (c *config) limitsInWords() string {
	if !c.Limiter.Enabled {
		return "off"
	}
	d, shadow := c.Limiter.Default, ""
	if d.Shadow {
		shadow = "in shadow mode, "
	}
	return fmt.Sprintf("capacity %d, %g per second, %sunless registered otherwise", d.Capacity, d.RatePerSecond, shadow)
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
