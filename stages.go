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

// settleTime is how long the management side waits for clients to be accepted before it answers.
const settleTime = time.Second

// settle waits until clients are accepted, for settleTime at most: most starts take less, and then
// what finds /healthz finds the listener of clients, too.
func (s stages) settle(ctx context.Context) {
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-s.served:
	case <-timer.C:
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

// openFront opens the listener of clients once the store is loaded: until then the system refuses
// them. They wait only at a socket of systemd, which is open before. Another process may hold the
// address for takeoverWait.
func (p *parts) openFront(ctx context.Context, c config) error {
	select {
	case <-p.stages.loaded:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	front, err := p.given.openListener(ctx, "server.listen", p.log, func() (net.Listener, error) {
		return listen.Open("server.listen", c.Server.Listen, c.Server.UnixMode, p.log)
	})
	if err != nil {
		return err
	}
	p.front.Use(front)
	return nil
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
