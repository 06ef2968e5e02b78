package main

import (
	"context"
	"net"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/listen"
)

// The time that a start waits for what another process holds: the one that it takes over from
// releases the port and the store a moment after it was told to end.
const (
	takeoverWait = 5 * time.Second
	takeoverPoll = 20 * time.Millisecond
)

// openListener calls open until the address is free, for takeoverWait at most.
func openListener(ctx context.Context, log zerolog.Logger, open func() (net.Listener, error)) (net.Listener, error) {
	ln, err := open()
	if !listen.IsHeld(err) {
		return ln, err
	}
	log.Info().Str("held", err.Error()).Stringer("at_most", takeoverWait).Msg("waiting for a port that another process holds")
	for end := time.Now().Add(takeoverWait); listen.IsHeld(err) && time.Now().Before(end); ln, err = open() {
		select {
		case <-time.After(takeoverPoll):
		case <-ctx.Done():
			return nil, err
		}
	}
	return ln, err
}
