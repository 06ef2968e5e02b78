// Package proxy takes HTTP requests, limits their clients and sends them on to
// backends. The road of a request is in handler.go; every step has its own file.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Options are what a Proxy is made of. The configs have been validated.
type Options struct {
	Server  ServerConfig
	Pools   map[string]PoolConfig
	Routes  []RouteConfig
	Limiter *limiter.Limiter // nil: nobody is limited
	Exempt  ExemptConfig     // from Limiter's tokens
	API     *API             // nil: /v1/api/ is no different from other paths
	Access  Access
	Log     zerolog.Logger
}

// Proxy is the load balancer's data path. It is safe for concurrent use.
type Proxy struct {
	server      fasthttp.Server
	wait        headerTimeouts
	bodyTimeout time.Duration
	shutdown    time.Duration
	maxBody     int64 // 0 means no limit
	trust       *Trust
	proxyHeader bool // the trusted begin with one
	via         via
	earlyHints  bool    // interim responses go on
	pools       []*pool // by name
	routes      []route
	limiter     *limiter.Limiter
	exempt      exemptions
	keyHeader   string // in lower case; "" if clients have no keys
	api         *API
	access      accessLog
	log         zerolog.Logger

	draining   atomic.Bool
	clients    clientSet
	departures wire.Departures
	inFlight   atomic.Int64 // requests
	tunnels    atomic.Int64 // of them, those that have become one
	noPool     *poolMetrics
	errors     [reason.Count]atomic.Uint64

	shadowLimited atomic.Uint64
}

// New makes a Proxy. It starts nothing.
func New(o Options) *Proxy {
	p := &Proxy{
		bodyTimeout: o.Server.BodyTimeout,
		shutdown:    o.Server.ShutdownTimeout,
		maxBody:     int64(o.Server.MaxBodySize),
		trust:       NewTrust(o.Server),
		proxyHeader: o.Server.ProxyProtocol,
		via:         newVia(o.Server.Via),
		earlyHints:  o.Server.EarlyHints,
		limiter:     o.Limiter,
		exempt:      newExemptions(o.Exempt),
		api:         o.API,
		access:      accessLog{which: o.Access, log: o.Log.Level(zerolog.TraceLevel)},
		log:         o.Log,
		noPool:      newPoolMetrics(""),
		clients:     clientSet{most: o.Server.MaxConnections, conns: map[*clientConn]struct{}{}},
	}
	if o.Limiter != nil {
		p.keyHeader = o.Limiter.KeyHeader()
	}
	byName := map[string]*pool{}
	for _, name := range slices.Sorted(maps.Keys(o.Pools)) {
		byName[name] = newPool(name, o.Pools[name])
		p.pools = append(p.pools, byName[name])
	}
	p.routes = newRoutes(o.Routes, byName)
	p.configure(o.Server)
	return p
}

// writeBufferSize is fasthttp's buffer for a connection's responses. Only the
// API's pass through it: those of backends are written past it.
const writeBufferSize = 1 << 10

// configure sets fasthttp up so that it leaves requests as they are.
func (p *Proxy) configure(c ServerConfig) {
	s := &p.server
	s.Handler = p.handle
	s.ErrorHandler = p.refuse
	s.HeaderReceived = hideBody
	s.Logger = noLog{}
	s.ReadBufferSize = int(c.MaxHeaderSize)
	s.WriteBufferSize = writeBufferSize
	p.wait = headerTimeouts{header: c.ReadHeaderTimeout, idle: c.IdleTimeout}
	s.Concurrency = 1 << 30 // the listener bounds it
	s.StreamRequestBody = true
	s.DisablePreParseMultipartForm = true
	s.NoDefaultServerHeader = true
	s.NoDefaultDate = true
	s.NoDefaultContentType = true
	s.LazyRequestTime = true
	s.CloseOnShutdown = true
	s.SecureErrorLogMessage = true
}

// hideBody makes fasthttp believe that a request has no body, so that it neither
// reads one nor answers 100 Continue: both are ours. What the client has sent
// stands in the header's raw bytes, which the guard reads.
func hideBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const unspecified = -2
	h.Del(fasthttp.HeaderExpect)
	if h.ContentLength() != unspecified {
		h.SetContentLength(unspecified)
	}
	return fasthttp.RequestConfig{}
}

// refuse answers what fasthttp could not parse.
func (p *Proxy) refuse(ctx *fasthttp.RequestCtx, err error) {
	if c := ctx.Conn().(*clientConn); c.scan == (headerScan{}) && !errors.Is(err, errProxyHeader) {
		c.answered = true // not a byte has come: who only opens a connection is not told anything
		return
	}
	x := beginExchange(ctx)
	x.started = time.Now() // ctx may still hold the time of the request before
	x.received = int64(x.client.scan.size)
	defer p.end(x)
	why := reason.BadRequest
	var small *fasthttp.ErrSmallBuffer
	switch {
	case x.client.scan.faulty: // whatever else became of it
	case errors.As(err, &small):
		why = reason.HeaderTooLarge
	case wire.TimedOut(err):
		why = reason.RequestTimeout
	case errors.Is(err, net.ErrClosed):
		why = reason.ClientGone
	}
	p.reject(x, why)
}

// Serve answers the connections that the listener accepts, until ctx ends. Then
// it stops accepting, finishes the requests under way and returns nil; those that
// are not done within the shutdown timeout are cut, and an error says how many.
// Tunnels are cut too, but are no error: many last for as long as they are let.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	closeDepartures, err := p.departures.Open()
	if err != nil {
		return err
	}
	defer closeDepartures()
	l := &listener{Listener: ln, clients: &p.clients, turnAway: p.turnAway, wait: p.wait, proxied: p.sendsProxyHeader}
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("accept connections on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	p.draining.Store(true) // every response now ends its connection
	_ = l.Close()
	<-served
	return p.drain()
}

// drainPoll is how often drain looks whether the last request is done.
const drainPoll = 5 * time.Millisecond

func (p *Proxy) drain() error {
	deadline, cancel := context.WithTimeout(context.Background(), p.shutdown)
	defer cancel()
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	p.logUnderWay(zerolog.InfoLevel, "draining")
	for p.inFlight.Load() > 0 && deadline.Err() == nil {
		select {
		case <-poll.C:
		case <-deadline.Done():
		}
	}
	p.clients.closeUnused()
	err := p.server.ShutdownWithContext(deadline) // closes the connections that are idle
	for _, pool := range p.pools {
		for _, b := range pool.backends {
			b.idle.CloseIdleConnections()
		}
	}
	if err != nil {
		return p.cut()
	}
	return nil
}

// cutGrace is how long cut waits for the exchanges to end, so that they are counted and
// logged. An exchange notices the cut when it begins to watch its client, at the latest.
const cutGrace = wire.WatchAfter + 100*time.Millisecond

// cut ends what was not done in time.
func (p *Proxy) cut() error {
	requests, tunnels := p.underWay()
	if requests+tunnels > 0 {
		p.logUnderWay(zerolog.WarnLevel, "cut what was not done within the shutdown timeout")
	}
	p.access.cutting.Store(true)
	p.clients.cutAll()
	p.departures.AllLeft()
	for end := time.Now().Add(cutGrace); p.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(drainPoll)
	}
	if requests > 0 {
		return fmt.Errorf("%d requests were not done after server.shutdown_timeout (%s) and were cut", requests, p.shutdown)
	}
	return nil
}

// underWay returns how many requests are under way, and how many tunnels.
func (p *Proxy) underWay() (requests, tunnels int64) {
	tunnels = p.tunnels.Load()
	return max(0, p.inFlight.Load()-tunnels), tunnels // one may have ended in between
}

func (p *Proxy) logUnderWay(level zerolog.Level, message string) {
	requests, tunnels := p.underWay()
	p.log.WithLevel(level).Stringer("shutdown_timeout", p.shutdown).
		Int64("requests", requests).Int64("tunnels", tunnels).Msg(message)
}

// turnAway answers a connection beyond server.max_connections. What the client
// sends is not read.
func (p *Proxy) turnAway(conn net.Conn) {
	answer := reason.Overloaded.Answer()
	now := time.Now()
	_ = conn.SetWriteDeadline(now.Add(time.Second)) // the first bytes fit into the socket's buffer: nothing waits
	sent, _ := conn.Write(slices.Concat(appendDate(slices.Clone(answer.Head), now), []byte("Connection: close\r\n\r\n"), answer.Body))
	p.noPool.codes.Add(reason.Overloaded.Status())
	p.count(reason.Overloaded)
	p.access.turnedAway(peerOf(conn), time.Since(now), sent)
}

// Report tells that a backend, by its index in the pool's config, went out or
// came back.
func (p *Proxy) Report(poolName string, index int, up bool) {
	for _, pool := range p.pools {
		if pool.name == poolName {
			pool.mark(pool.backends[index], down, !up)
		}
	}
}

// Ready returns nil when every pool has a backend that takes requests and the
// proxy is not shutting down.
func (p *Proxy) Ready() error {
	if p.draining.Load() {
		return errors.New("shutting down")
	}
	for _, pool := range p.pools {
		if len(pool.current.Load().backends) == 0 {
			return fmt.Errorf("pool %s has no backend that takes requests", pool.name)
		}
	}
	return nil
}

// noLog drops what fasthttp would log: broken connections and bad requests, which
// are counted and, if wanted, in the access log.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
