package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/rs/zerolog"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/management"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/state"
)

// parts are what the balancer is made of, and what a reload changes.
type parts struct {
	path      string // of the config file
	front     *listen.Swap
	back      *listen.Swap
	limits    *limiter.Limiter
	service   *clients.Service // nil: clients are neither limited nor managed
	api       *management.API
	balancer  *proxy.Proxy
	kept      *state.File
	format    *logFormat
	readsKeys atomic.Bool // requests are identified by an API key, too
	log       zerolog.Logger
}

// description is the API's, for its callers.
//
//go:embed docs/swagger.yaml
var description []byte

// newParts makes the parts in one order. Nothing runs yet.
func newParts(ctx context.Context, c config, r *reloads, log zerolog.Logger, format *logFormat) (*parts, error) {
	p := &parts{path: r.path, format: format, log: log}
	var err error
	if p.kept, err = state.Open(c.Server.State); err != nil {
		return nil, err
	}
	if c, err = c.withSecrets(p.kept); err != nil {
		return nil, err
	}
	given, err := inherit(c)
	if err != nil {
		return nil, err
	}
	defer given.close()
	front, err := given.openListener(ctx, "server.listen", log, func() (net.Listener, error) {
		return listen.Open("server.listen", c.Server.Listen, c.Server.UnixMode, log)
	})
	if err != nil {
		return nil, err
	}
	p.front = listen.NewSwap(front)
	back, err := given.openListener(ctx, "management.listen", log, func() (net.Listener, error) { return c.Management.Open(log) })
	if err != nil {
		return nil, errors.Join(err, front.Close())
	}
	p.back = listen.NewSwap(back)
	p.limits = limiter.New(c.Limiter.Config)
	p.readsKeys.Store(c.Limiter.KeyField() != "")
	if p.service, err = c.openClients(ctx, p.limits, p.readsKeys.Load, log); err != nil {
		p.close()
		return nil, err
	}
	p.api = management.NewAPI(c.Management, proxy.NewTrust(c.Server.ServerConfig), p.service, r.management(), description, log)
	o := c.proxyOptions(p.limits, p.api.OnProxy(c.Management), log)
	if o.ByHand, err = byHand(p.kept); err != nil {
		p.close()
		return nil, errors.Join(err, p.closeStore())
	}
	p.balancer = proxy.New(o)
	return p, nil
}

// close closes the listeners.
func (p *parts) close() {
	_ = p.front.Close()
	_ = p.back.Close()
}

// alive returns soon, unless a lock that requests or their counters need is held for good.
func (p *parts) alive() {
	p.balancer.WriteMetrics(io.Discard)
	_ = p.limits.Tracked()
	_ = p.balancer.Ready() // a balancer without a backend lives, too
}

// logStart logs where the balancer listens, and what it does.
func (p *parts) logStart(c config) {
	c.Management.Warn(p.front.Addr(), p.log)
	if !c.Management.Listen.IsZero() {
		p.log.Info().Str("listen", p.back.Addr().String()).Bool("api_on_proxy", c.Management.APIOnProxy).Msg("management")
	}
	p.log.Info().Str("config", p.path).Str("listen", p.front.Addr().String()).Int("pools", len(c.Pools)).
		Str("limits", c.limitsInWords()).Msg("proxy")
}

// apply changes the parts from one config to another. What can fail comes first: then nothing is
// changed, and the error says why.
func (p *parts) apply(before, after config) error {
	after, err := after.withSecrets(p.kept)
	if err != nil {
		return err
	}
	front, back, err := p.openListeners(before, after)
	if err != nil {
		return err
	}
	p.limits.SetDefault(after.Limiter.Default)
	p.readsKeys.Store(after.Limiter.KeyField() != "")
	p.api.Apply(after.Management, proxy.NewTrust(after.Server.ServerConfig))
	p.balancer.Apply(after.proxyOptions(p.limits, p.api.OnProxy(after.Management), p.log))
	p.format.apply(after.Log)
	if before.Server.Listen != after.Server.Listen {
		p.front.Use(front)
	}
	if before.Management.Listen != after.Management.Listen {
		p.back.Use(back)
	}
	after.Management.Warn(p.front.Addr(), p.log)
	return nil
}

// openListeners opens the listeners whose addresses have changed. back is nil where the management
// listener is turned off.
func (p *parts) openListeners(before, after config) (front, back net.Listener, err error) {
	if before.Server.Listen != after.Server.Listen {
		if front, err = listen.Open("server.listen", after.Server.Listen, after.Server.UnixMode, p.log); err != nil {
			return nil, nil, err
		}
	}
	if before.Management.Listen != after.Management.Listen {
		if back, err = after.Management.Open(p.log); err != nil {
			if front != nil {
				err = errors.Join(err, front.Close())
			}
			return nil, nil, err
		}
	}
	return front, back, nil
}

// openClients opens the client store. If clients are neither limited nor managed it returns nil: a
// bare proxy needs neither a file nor a database.
func (c *config) openClients(ctx context.Context, limits *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) (*clients.Service, error) {
	if !c.needsClients() {
		return nil, nil
	}
	return clients.Open(ctx, c.Clients, limits, readsKeys, log)
}

// needsClients reports whether clients are limited or managed.
func (c *config) needsClients() bool {
	return c.Limiter.Enabled || !c.Management.Listen.IsZero() || c.Management.APIOnProxy
}

// closeStore waits for the calls under way and releases the store. Later calls get 503.
func (p *parts) closeStore() error {
	if p.service == nil {
		return nil
	}
	return p.service.Close()
}

// proxyOptions returns the proxy's part of the config.
func (c *config) proxyOptions(limits *limiter.Limiter, api *proxy.API, log zerolog.Logger) proxy.Options {
	o := proxy.Options{Server: c.Server.ServerConfig, Pools: c.Pools, Routes: c.Routes, API: api, Access: c.Log.Access, Query: c.Log.Query, Log: log}
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
