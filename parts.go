package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/rs/zerolog"

	"loadbalancer/clients"
	"loadbalancer/limiter"
	"loadbalancer/limiter/shared"
	"loadbalancer/management"
	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
	"loadbalancer/state"
)

// parts are what the balancer is made of, and what a reload changes.
type parts struct {
	path      string // of the config file
	given     inherited
	front     *listen.Swap // accepts nothing until openFront, as secure, and back until openBack
	secure    *listen.Swap // of server.tls.listen
	plain     *listen.Swap // of server.tls.redirect_from
	back      *listen.Swap
	tls       *listen.TLS
	issued    *certificates // by an authority
	stages    stages
	limits    *limiter.Limiter
	share     *limiter.Share   // nil: the limits are this instance's alone
	teller    *shared.Teller   // of share
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

// newParts makes the parts in one order, except for the balancer. Nothing is opened but the sockets
// that systemd passes on, and nothing runs.
func newParts(c config, r *reloads, log zerolog.Logger, format *logFormat) (*parts, error) {
	p := &parts{
		path: r.path, front: listen.NewSwap(nil), secure: listen.NewSwap(nil), plain: listen.NewSwap(nil), back: listen.NewSwap(nil),
		stages: newStages(), format: format, log: log,
	}
	var err error
	if p.issued, err = newCertificates(c, p.stages.served, log); err != nil {
		return nil, err
	}
	p.tls = listen.NewTLS(p.issued, log)
	if err := p.tls.Apply(c.Server.TLS, c.Server.HTTP2); err != nil {
		return nil, err
	}
	if p.kept, err = state.Open(c.Server.State); err != nil {
		return nil, err
	}
	if p.limits, p.share = c.newLimits(); p.share != nil {
		if p.teller, err = newTeller(c, p.share, p.kept, log); err != nil {
			return nil, err
		}
	}
	p.readsKeys.Store(c.Limiter.KeyField() != "")
	p.service = c.newClients(p.limits, p.readsKeys.Load, log)
	p.api = management.NewAPI(c.Management, proxy.NewTrust(c.Server.ServerConfig), p.service, r.management(), description, log)
	if p.given, err = inherit(c); err != nil {
		return nil, err
	}
	return p, nil
}

// makeBalancer makes the balancer, once the management listener is open: until then, a predecessor
// may write to the state.
func (p *parts) makeBalancer(c config) (err error) {
	if c, err = c.withSecrets(p.kept); err != nil {
		return err
	}
	o := p.proxyOptions(c)
	if o.ByHand, err = byHand(p.kept); err != nil {
		return err
	}
	p.balancer = proxy.New(o)
	return nil
}

// proxyOptions returns what the balancer is made of, or goes by from now on.
func (p *parts) proxyOptions(c config) proxy.Options {
	o := c.proxyOptions(p.limits, p.api.OnProxy(c.Management), p.log)
	if c.Server.TLS.ACME.Enabled() {
		o.Edge.Challenge = p.issued.HTTP01
	}
	return o
}

// close closes the listeners.
func (p *parts) close() {
	_ = p.front.Close()
	_ = p.secure.Close()
	_ = p.plain.Close()
	_ = p.back.Close()
	p.given.close()
	p.issued.close()
}

// alive returns soon, unless a lock that requests or their counters need is held for good.
func (p *parts) alive() {
	p.balancer.WriteMetrics(io.Discard)
	_ = p.limits.Tracked()
	_ = p.balancer.Ready() // a balancer without a backend lives, too
}

// logStart logs where clients are accepted, and what is done with their requests.
func (p *parts) logStart(c config) {
	c.Management.Warn(p.log, p.front.Addr(), p.secure.Addr())
	line := p.log.Info().Str("config", p.path).Str("listen", p.front.Addr().String())
	if c.Server.TLS.IsOn() {
		line.Str("tls", p.secureAddr(c))
	}
	if !c.Server.TLS.RedirectFrom.IsZero() {
		line.Str("redirect_from", p.plain.Addr().String())
	}
	line.Int("pools", len(c.Pools)).Str("limits", c.limitsInWords()).Msg("proxy")
}

// secureAddr returns the address where TLS is spoken.
func (p *parts) secureAddr(c config) string {
	if c.Server.isSecure() {
		return p.front.Addr().String()
	}
	return p.secure.Addr().String()
}

// fronts returns the listeners of clients, with what is spoken there.
func (p *parts) fronts(c config) []proxy.Front {
	secure := func(ln net.Listener) proxy.Front {
		return proxy.Front{Listener: ln, TLS: p.tls.ServerConfig(), Authorities: p.tls.Authorities}
	}
	if c.Server.isSecure() {
		return []proxy.Front{secure(p.front), secure(p.secure), {Listener: p.plain, RedirectTo: p.front}}
	}
	return []proxy.Front{{Listener: p.front}, secure(p.secure), {Listener: p.plain, RedirectTo: p.secure}}
}

// apply changes the parts from one config to another. What can fail comes first: then nothing is
// changed, and the error says why.
func (p *parts) apply(before, after config) error {
	after, err := after.withSecrets(p.kept)
	if err != nil {
		return err
	}
	moves, err := p.openListeners(before, after)
	if err != nil {
		return err
	}
	takeUpTLS, err := p.tls.Prepare(after.Server.TLS, after.Server.HTTP2)
	if err != nil {
		return errors.Join(err, moves.close())
	}
	// While requests need certificates of their clients, handshakes ask for them.
	asks := after.Server.TLS.ClientCA != ""
	if asks {
		takeUpTLS()
	}
	p.issued.Apply(after.Server.TLS.ACME, after.challenges())
	p.limits.SetDefault(after.Limiter.Default)
	if p.share != nil {
		p.share.SetWait(after.Limiter.Share.Wait)
	}
	p.readsKeys.Store(after.Limiter.KeyField() != "")
	p.api.Apply(after.Management, proxy.NewTrust(after.Server.ServerConfig))
	p.balancer.Apply(p.proxyOptions(after))
	if !asks {
		takeUpTLS()
	}
	p.format.apply(after.Log)
	moves.use()
	after.Management.Warn(p.log, p.front.Addr(), p.secure.Addr())
	return nil
}

// newClients returns the clients' side. If clients are neither limited nor managed it returns nil:
// a bare proxy needs neither a file nor a database.
func (c *config) newClients(limits *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) *clients.Service {
	if !c.needsClients() {
		return nil
	}
	return clients.New(c.Clients, limits, readsKeys, log)
}

// needsClients reports whether clients are limited or managed.
func (c *config) needsClients() bool {
	return c.Limiter.Enabled || !c.Management.Listen.IsZero() || c.Management.APIOnProxy
}

// proxyOptions returns the proxy's part of the config.
func (c *config) proxyOptions(limits *limiter.Limiter, api *proxy.API, log zerolog.Logger) proxy.Options {
	o := proxy.Options{Server: c.Server.ServerConfig, Pools: c.Pools, Routes: c.Routes, API: api, Logging: proxy.Logging{Access: c.Log.Access, Query: c.Log.Query, Log: log}}
	o.Edge = proxy.Edge{ClientCerts: c.Server.TLS.ClientCA != "", Ports: c.Server.ports()}
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
	d, shadow, over := c.Limiter.Default, "", ""
	if d.Shadow {
		shadow = "in shadow mode, "
	}
	if c.sharesLimits() {
		over = ", over all instances"
	}
	return fmt.Sprintf("capacity %d, %g per second, %sunless registered otherwise%s", d.Capacity, d.RatePerSecond, shadow, over)
}
