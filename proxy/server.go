// Package proxy is the load balancer's data path: it takes HTTP/1 requests, limits their clients,
// picks a backend of the right pool, and forwards request and response.
//
// It forwards only requests that every recipient reads in the same way, changes only the fields
// that a proxy must change, and never repeats a request that a backend may have acted on, unless it
// is idempotent. A response that a backend breaks off is broken off for the client too. The steady
// path allocates nothing.
//
// It knows nothing of how limits are stored or managed, of how pools choose and check their
// backends, or of the config file beyond its own sections. The steps of a request are in
// handler.go, and each step has its own file.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"loadbalancer/limiter"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
	"loadbalancer/proxy/wire"
)

// Options are the parts of a Proxy. The configs must be valid.
type Options struct {
	Server  ServerConfig
	Pools   map[string]upstream.PoolConfig
	Routes  []RouteConfig
	Limiter *limiter.Limiter // nil: no client is limited
	Exempt  ExemptConfig     // requests that take no token from Limiter
	API     *API             // nil: /v1/api/ is a path like any other
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
	proxyHeader bool // trusted peers begin with a PROXY header
	via         message.Via
	rules       message.Rules
	earlyHints  bool             // forward interim responses
	pools       []*upstream.Pool // sorted by name
	routes      []route
	limiter     *limiter.Limiter
	exempt      exemptions
	api         *API
	access      accessLog
	log         zerolog.Logger

	draining   atomic.Bool
	clients    clientSet
	departures wire.Departures
	inFlight   atomic.Int64 // requests
	tunnels    atomic.Int64 // requests in flight that have become a tunnel
	noPool     *upstream.Requests
	errors     [reason.Count]atomic.Uint64

	shadowLimited atomic.Uint64
}

// New returns a Proxy. It starts nothing.
func New(o Options) *Proxy {
	p := &Proxy{
		bodyTimeout: o.Server.BodyTimeout,
		shutdown:    o.Server.ShutdownTimeout,
		maxBody:     int64(o.Server.MaxBodySize),
		trust:       NewTrust(o.Server),
		proxyHeader: o.Server.ProxyProtocol,
		via:         message.NewVia(o.Server.Via),
		earlyHints:  o.Server.EarlyHints,
		limiter:     o.Limiter,
		exempt:      newExemptions(o.Exempt),
		api:         o.API,
		access:      accessLog{which: o.Access, log: o.Log.Level(zerolog.TraceLevel)},
		log:         o.Log,
		noPool:      upstream.NoPool(),
		clients:     clientSet{most: o.Server.MaxConnections, conns: map[*clientConn]struct{}{}},
	}
	p.rules = message.Rules{ClientField: p.trust.field, MaxBody: p.maxBody}
	if o.Limiter != nil {
		p.rules.KeyField = o.Limiter.KeyHeader()
	}
	byName := map[string]*upstream.Pool{}
	for _, name := range slices.Sorted(maps.Keys(o.Pools)) {
		byName[name] = upstream.NewPool(name, o.Pools[name], o.Log)
		p.pools = append(p.pools, byName[name])
	}
	p.routes = newRoutes(o.Routes, byName)
	p.configure(o.Server)
	return p
}

// writeBufferSize is the size of fasthttp's buffer for a connection's responses. Only API responses
// pass through it: backend responses are written directly.
const writeBufferSize = 1 << 10

// configure sets up fasthttp so that it leaves requests as they are.
func (p *Proxy) configure(c ServerConfig) {
	s := &p.server
	s.Handler = p.handle
	s.ErrorHandler = p.refuse
	s.HeaderReceived = hideBody
	s.Logger = noLog{}
	s.ReadBufferSize = int(c.MaxHeaderSize)
	s.WriteBufferSize = writeBufferSize
	p.wait = headerTimeouts{header: c.ReadHeaderTimeout, idle: c.IdleTimeout}
	s.Concurrency = 1 << 30 // the listener limits connections
	s.StreamRequestBody = true
	s.DisablePreParseMultipartForm = true
	s.NoDefaultServerHeader = true
	s.NoDefaultDate = true
	s.NoDefaultContentType = true
	s.LazyRequestTime = true
	s.CloseOnShutdown = true
	s.SecureErrorLogMessage = true
}

// hideBody makes fasthttp believe that a request has no body, so that it neither reads the body nor
// sends 100 Continue; the proxy does both. The guard reads the client's fields from the raw bytes
// of the header.
func hideBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const unspecified = -2
	h.Del(fasthttp.HeaderExpect)
	if h.ContentLength() != unspecified {
		h.SetContentLength(unspecified)
	}
	return fasthttp.RequestConfig{}
}

// refuse answers a request that fasthttp could not parse.
func (p *Proxy) refuse(ctx *fasthttp.RequestCtx, err error) {
	if c := ctx.Conn().(*clientConn); c.scan == (headerScan{}) && !errors.Is(err, errProxyHeader) {
		c.answered = true // no byte has come: a client that only opens a connection gets no answer
		return
	}
	x := beginExchange(ctx)
	x.started = time.Now() // ctx may still hold the time of the previous request
	x.received = int64(x.client.scan.size)
	defer p.end(x)
	why := reason.BadRequest
	var small *fasthttp.ErrSmallBuffer
	switch {
	case x.client.scan.faulty: // whatever else went wrong
	case errors.As(err, &small):
		why = reason.HeaderTooLarge
	case wire.TimedOut(err):
		why = reason.RequestTimeout
	case errors.Is(err, net.ErrClosed):
		why = reason.ClientGone
	}
	p.reject(x, why)
}

// Serve serves the connections that the listener accepts until ctx ends. It then stops accepting,
// finishes the requests in flight and returns nil. Requests that outlast the shutdown timeout are
// cut, and the error says how many. Tunnels are cut too, but are not an error: many last for as
// long as they are allowed to.
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
	p.draining.Store(true) // from now on every response ends its connection
	_ = l.Close()
	<-served
	return p.drain()
}

// RunChecks runs the health checks of all pools until ctx ends, and returns once none is running.
func (p *Proxy) RunChecks(ctx context.Context) {
	var running sync.WaitGroup
	for _, pool := range p.pools {
		running.Go(func() { pool.Run(ctx) })
	}
	running.Wait()
}

// drainPoll is how often drain checks whether the last request has ended.
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
	err := p.server.ShutdownWithContext(deadline) // closes the idle connections
	for _, pool := range p.pools {
		pool.CloseIdle()
	}
	if err != nil {
		return p.cut()
	}
	return nil
}

// cutGrace is how long cut waits for the exchanges to end, so that they are counted and logged. An
// exchange notices the cut at the latest when it begins to watch its client.
const cutGrace = wire.WatchAfter + 100*time.Millisecond

// cut ends the requests and tunnels that outlasted the shutdown timeout.
func (p *Proxy) cut() error {
	requests, tunnels := p.underWay()
	if requests+tunnels > 0 {
		p.logUnderWay(zerolog.WarnLevel, "cut what was still running at the shutdown timeout")
	}
	p.access.cutting.Store(true)
	p.clients.cutAll()
	p.departures.AllLeft()
	for end := time.Now().Add(cutGrace); p.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(drainPoll)
	}
	if requests > 0 {
		return fmt.Errorf("%d requests were still running after server.shutdown_timeout (%s) and were cut", requests, p.shutdown)
	}
	return nil
}

// underWay returns the number of requests in flight, without tunnels, and the number of tunnels.
func (p *Proxy) underWay() (requests, tunnels int64) {
	tunnels = p.tunnels.Load()
	return max(0, p.inFlight.Load()-tunnels), tunnels // one may have ended in between
}

func (p *Proxy) logUnderWay(level zerolog.Level, message string) {
	requests, tunnels := p.underWay()
	p.log.WithLevel(level).Stringer("shutdown_timeout", p.shutdown).
		Int64("requests", requests).Int64("tunnels", tunnels).Msg(message)
}

// turnAway answers a connection beyond server.max_connections. It does not read what the client
// sends.
func (p *Proxy) turnAway(conn net.Conn) {
	answer := reason.Overloaded.Answer()
	now := time.Now()
	_ = conn.SetWriteDeadline(now.Add(time.Second)) // the first bytes fit into the socket's buffer, so nothing waits
	sent, _ := conn.Write(slices.Concat(message.AppendDate(slices.Clone(answer.Head), now), []byte("Connection: close\r\n\r\n"), answer.Body))
	p.noPool.CountUnread(reason.Overloaded.Status())
	p.count(reason.Overloaded)
	p.access.turnedAway(peerOf(conn), time.Since(now), sent)
}

// Ready returns nil when every pool has a backend that takes requests and the
// proxy is not shutting down.
func (p *Proxy) Ready() error {
	if p.draining.Load() {
		return errors.New("shutting down")
	}
	for _, pool := range p.pools {
		if !pool.TakesRequests() {
			return fmt.Errorf("pool %s has no backend that takes requests", pool.Name())
		}
	}
	return nil
}

// noLog drops fasthttp's log lines: broken connections and bad requests are counted and, if
// configured, in the access log.
type noLog struct{}

func (noLog) Printf(string, ...any) {}
