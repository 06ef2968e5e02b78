// Package proxy is the load balancer's data path: it takes HTTP/1 requests, limits their clients,
// picks a backend of the right pool, and forwards request and response.
//
// It forwards only requests that every recipient reads in the same way, changes only the fields
// that a proxy must change, and never repeats a request that a backend may have acted on, unless it
// is idempotent. A response that a backend breaks off is broken off for the client too. The steady
// path allocates nothing.
//
// The road of a request is in handler.go, and each step has its own file. The package knows nothing
// of how limits are stored or managed, of how bytes are read and written, which is package http1's,
// or of the config file beyond its own sections.
package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/http2"
	"loadbalancer/proxy/upstream"
)

// Proxy is the load balancer's data path. It is safe for concurrent use.
type Proxy struct {
	server   *http1.Server
	http2    *http2.Server // has the connections of server whose clients speak it
	settings atomic.Pointer[settings]
	pools    pools
	road     road
}

// New returns a Proxy. It starts nothing.
func New(o Options) *Proxy {
	p := &Proxy{
		pools: pools{log: o.Log, keep: o.ByHand.Keep, absent: o.ByHand.before()},
		road:  road{log: o.Log, access: newAccessLog(o.Log), noPool: upstream.NoPool()},
	}
	p.settings.Store(newSettings(o, p.pools.apply(o.Pools)))
	p.noteSettings()
	p.server = http1.NewServer(http1.Options{
		Bounds:        o.Server.bounds(),
		MaxHeaderSize: int(o.Server.MaxHeaderSize),
		Handle:        p.handle,
		TurnedAway:    p.turnedAway,
		HTTP2:         p.serveHTTP2,
		Proxied:       p.isProxied,
		Log:           o.Log,
	})
	p.http2 = http2.NewServer(http2.Options{
		Bounds:        o.Server.boundsOfHTTP2(),
		MaxHeaderSize: int(o.Server.MaxHeaderSize),
		Handle:        p.handle,
		Activity:      p.server.Activity(),
	})
	return p
}

// Apply gives the proxy other options, except for Log, ByHand and Server.MaxHeaderSize. Requests
// under way end by those they began with. What stays keeps its state: connections, pools and
// backends by their names and URLs, counters.
func (p *Proxy) Apply(o Options) {
	before := p.settings.Load()
	p.settings.Store(newSettings(o, p.pools.apply(o.Pools)))
	p.server.SetBounds(o.Server.bounds())
	p.http2.SetBounds(o.Server.boundsOfHTTP2())
	p.pools.retire(before.pools)
	p.noteSettings()
}

// serveHTTP2 serves a connection whose client speaks HTTP/2.
func (p *Proxy) serveHTTP2(conn ends.Conn) { p.http2.Serve(conn) }

// isProxied reports whether the connections of this peer must begin with a PROXY header.
func (p *Proxy) isProxied(peer netip.Addr) bool {
	trust := p.settings.Load().trust
	return trust.announce && trust.trusts(peer)
}

// Front is a listener of clients.
type Front struct {
	net.Listener
	TLS         *tls.Config           // nil: they are in the clear
	Authorities func() *x509.CertPool // that sign the certificates of clients: see http1.Front
	RedirectTo  net.Listener          // of TLS, to which clients are sent; nil: they are served
}

// Serve serves the connections that the fronts accept until ctx ends. From then on Ready says no;
// after server.shutdown_delay, in which those that ask it send their traffic elsewhere, Serve closes
// the listeners and returns nil. Drain must follow. If a listener fails before, Serve closes all and
// returns the error.
func (p *Proxy) Serve(ctx context.Context, fronts ...Front) error {
	all := make([]http1.Front, len(fronts))
	for i, f := range fronts {
		all[i] = http1.Front{Listener: f.Listener, TLS: f.TLS, Authorities: f.Authorities}
		if f.RedirectTo != nil {
			all[i].Handle = func(s ends.Stream) { p.redirect(s, f.RedirectTo.Addr()) }
		}
	}
	return p.server.Serve(ctx, all...)
}

// Drain finishes the requests in flight, once Serve has returned, and closes all connections.
// Requests that outlast the shutdown timeout are cut, and the error says how many. Tunnels are cut
// too, but are not an error: many last for as long as they are allowed to.
func (p *Proxy) Drain() error {
	defer func() {
		for _, pool := range p.settings.Load().pools {
			pool.CloseUnused()
		}
	}()
	p.http2.Drain()
	return p.server.Drain()
}

// RunChecks checks the backends of all pools until ctx ends, and returns once no check is running.
func (p *Proxy) RunChecks(ctx context.Context) { p.pools.run(ctx) }

// turnedAway records a connection beyond server.max_connections.
func (p *Proxy) turnedAway(peer netip.Addr, took time.Duration, sent int) {
	p.road.turnedAway(p.settings.Load().access.which, peer, took, sent)
}

// Ready returns nil when every pool has a backend that takes requests and the proxy is not shutting
// down.
func (p *Proxy) Ready() error {
	if p.server.Ending() {
		return errors.New("shutting down")
	}
	for _, pool := range p.settings.Load().pools {
		if !pool.TakesRequests() {
			return fmt.Errorf("pool %s has no backend that takes requests", pool.Name())
		}
	}
	return nil
}

// Pools returns the pools of the config, sorted by name.
func (p *Proxy) Pools() []*upstream.Pool { return p.settings.Load().pools }

// SaveSettings keeps what operators have set by hand, if that has changed. What was set of pools
// and backends that the config has no more is dropped. After an error the settings still count, and
// the next call tries again.
func (p *Proxy) SaveSettings() error { return p.pools.save(true) }

// noteSettings keeps that the config counts in place of what was set by hand. Otherwise that would
// count again after a restart with the config of before.
func (p *Proxy) noteSettings() {
	if err := p.pools.save(false); err != nil {
		p.road.log.Error().Err(err).Msg("what operators have set of backends could not be kept")
	}
}
