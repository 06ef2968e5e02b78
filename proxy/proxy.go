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
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/upstream"
)

// Options are the parts of a Proxy. The configs must be valid.
type Options struct {
	Server      ServerConfig
	Pools       map[string]upstream.PoolConfig
	Routes      []RouteConfig
	Limiter     *limiter.Limiter // nil: no client is limited
	LimitFields limiter.Fields   // tell clients of their limit
	KeyField    string           // the field with the API key, in lower case; "": none
	Exempt      ExemptConfig     // requests that take no token from Limiter
	API         *API             // nil: /v1/api/ is a path like any other
	Access      Access
	Log         zerolog.Logger
}

// Proxy is the load balancer's data path. It is safe for concurrent use.
type Proxy struct {
	server   *http1.Server
	settings atomic.Pointer[settings]
	pools    []*upstream.Pool // sorted by name
	api      *API
	road     road
}

// New returns a Proxy. It starts nothing.
func New(o Options) *Proxy {
	p := &Proxy{
		api: o.API,
		road: road{
			limiter: o.Limiter,
			access:  accessLog{which: o.Access, log: o.Log.Level(zerolog.TraceLevel)},
			noPool:  upstream.NoPool(),
		},
	}
	byName := map[string]*upstream.Pool{}
	for _, name := range slices.Sorted(maps.Keys(o.Pools)) {
		byName[name] = upstream.NewPool(name, o.Pools[name], o.Log)
		p.pools = append(p.pools, byName[name])
	}
	p.settings.Store(newSettings(o.Server, o.Exempt, o.KeyField, o.LimitFields, newRoutes(o.Routes, byName)))
	p.server = http1.NewServer(http1.Options{
		ReadHeaderTimeout: o.Server.ReadHeaderTimeout,
		IdleTimeout:       o.Server.IdleTimeout,
		ShutdownTimeout:   o.Server.ShutdownTimeout,
		MaxHeaderSize:     int(o.Server.MaxHeaderSize),
		MaxConnections:    o.Server.MaxConnections,
		Handle:            p.handle,
		TurnedAway:        p.road.turnedAway,
		Proxied:           p.isProxied,
		Log:               o.Log,
	})
	return p
}

// isProxied reports whether the connections of this peer must begin with a PROXY header.
func (p *Proxy) isProxied(peer netip.Addr) bool {
	s := p.settings.Load()
	return s.proxyProtocol && s.trust.trusts(peer)
}

// Serve serves the connections that the listener accepts until ctx ends. It then stops accepting,
// finishes the requests in flight and returns nil. Requests that outlast the shutdown timeout are
// cut, and the error says how many. Tunnels are cut too, but are not an error: many last for as
// long as they are allowed to.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	defer func() {
		for _, pool := range p.pools {
			pool.CloseIdle()
		}
	}()
	return p.server.Serve(ctx, ln)
}

// RunChecks checks the backends of all pools until ctx ends, and returns once no check is running.
func (p *Proxy) RunChecks(ctx context.Context) {
	var wg sync.WaitGroup
	for _, pool := range p.pools {
		wg.Go(func() { pool.Run(ctx) })
	}
	wg.Wait()
}

// Ready returns nil when every pool has a backend that takes requests and the proxy is not shutting
// down.
func (p *Proxy) Ready() error {
	if p.server.Draining() {
		return errors.New("shutting down")
	}
	for _, pool := range p.pools {
		if !pool.TakesRequests() {
			return fmt.Errorf("pool %s has no backend that takes requests", pool.Name())
		}
	}
	return nil
}
