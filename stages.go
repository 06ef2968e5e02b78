package main

import (
	"context"
	"errors"
	"net"
	"time"

	"loadbalancer/proxy/listen"
)

// What a process that does not serve yet waits for, as /readyz and the API tell it.
var (
	errAwaitsStore = errors.New("waiting for the client store")
	errAwaitsFront = errors.New("waiting for server.listen")
)

// stages are what the start gets to, one after another. Each channel is closed once it is there.
type stages struct {
	managed chan struct{} // the management listener is open, unless the config turns it off
	loaded  chan struct{} // the client store is open, and the clients have their limits
	served  chan struct{} // clients are accepted
}

func newStages() stages {
	return stages{managed: make(chan struct{}), loaded: make(chan struct{}), served: make(chan struct{})}
}

// awaits returns what the start waits for, or nil once clients are accepted.
func (s stages) awaits() error {
	select {
	case <-s.served:
		return nil
	default:
	}
	select {
	case <-s.loaded:
		return errAwaitsFront
	default:
		return errAwaitsStore
	}
}

// headStart is how long a start may take before it shows its stages: until then the callers of the
// management side wait in the listener's queue, so that what waits for /healthz, or for the port,
// finds a balancer that serves. It is less than a liveness probe bears.
const headStart = time.Second

// leaveHeadStart returns once clients are accepted, at the latest after headStart or when ctx has ended.
func (s stages) leaveHeadStart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	select {
	case <-s.served:
	case <-ctx.Done():
	}
}

// openBack opens the management listener. Another process may hold its address for takeoverWait.
func (p *parts) openBack(ctx context.Context, c config) error {
	back, err := p.given.openListener(ctx, "management.listen", p.log, func() (net.Listener, error) { return c.Management.Open(p.log) })
	if err != nil {
		return err
	}
	p.back.Use(back)
	if back != nil {
		p.log.Info().Str("listen", back.Addr().String()).Bool("api_on_proxy", c.Management.APIOnProxy).Msg("management")
	}
	close(p.stages.managed)
	return nil
}

// openFront opens the listeners of clients once the store is loaded: until then the system refuses
// them. They wait only at a socket of systemd, which is open before. Another process may hold the
// address for takeoverWait.
func (p *parts) openFront(ctx context.Context, c config) error {
	if err := p.awaitLoaded(ctx, c); err != nil {
		return err
	}
	p.issued.load(ctx)
	for _, front := range []struct {
		key string
		of  *listen.Swap
	}{{"server.listen", p.front}, {"server.tls.listen", p.secure}, {"server.tls.redirect_from", p.plain}} {
		ln, err := p.given.openListener(ctx, front.key, p.log, func() (net.Listener, error) { return p.open(front.key, c) })
		if err != nil {
			return err
		}
		front.of.Use(ln)
	}
	return nil
}

// awaitLoaded waits for the store. Where that takes long, a port that another process holds is told
// meanwhile.
func (p *parts) awaitLoaded(ctx context.Context, c config) error {
	select {
	case <-p.stages.loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(headStart): // to look for the holder takes its time, too
	}
	if held := listen.Held("server.listen", c.Server.Listen); held != nil && p.given["server.listen"] == nil {
		p.log.Warn().Str("held", held.Error()).Msg("another process holds the port of clients, and has to give it up when the client store is there")
	}
	select {
	case <-p.stages.loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keepStore starts the client store, which ctx ends, and follows it until accepting ends. A store
// that several processes can have open is started at once, so that it is there when a predecessor
// gives up its addresses. The predecessor gives up a file after them.
func (p *parts) keepStore(ctx, accepting context.Context, shared bool) error {
	if p.service == nil {
		close(p.stages.loaded)
		return nil
	}
	if !shared {
		select {
		case <-p.stages.managed:
		case <-ctx.Done():
			return nil
		}
	}
	if err := p.service.Start(ctx); err != nil {
		return err
	}
	close(p.stages.loaded)
	return p.service.Run(accepting)
}

// closeStore waits for the calls under way and releases the store. Later calls get 503.
func (p *parts) closeStore() error {
	if p.service == nil {
		return nil
	}
	return p.service.Close()
}
