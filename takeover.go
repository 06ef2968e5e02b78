package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/rs/zerolog"

	"loadbalancer/proxy/listen"
)

// The time that a start waits for what another process holds: the one that it takes over from
// releases the port and the store a moment after it was told to end.
const (
	takeoverWait = 5 * time.Second
	takeoverPoll = 20 * time.Millisecond
)

// inherited holds the listeners that systemd opened before it started the process, by the key of
// the config that each stands in for.
type inherited map[string]net.Listener

// sharedListener is a listener whose socket another process holds as well. It does not give the
// socket away: what waits in its queue, once this process has closed its own copy, is the other's.
type sharedListener struct{ net.Listener }

// inherit takes the listeners over. Another process of the same environment gets none.
func inherit(c config) (inherited, error) {
	listeners := inherited{}
	for _, file := range activation.Files(true) {
		key := file.Name()
		ln, err := net.FileListener(file)
		_ = file.Close() // the listener has a copy
		switch {
		case err != nil:
			err = fmt.Errorf("the socket %s that systemd passes on is none to accept connections from: %w; use ListenStream=", key, err)
		case !slices.Contains(listenKeys, key):
			err = fmt.Errorf("systemd passes a socket on that is named %s: set FileDescriptorName= to one of %s", key, strings.Join(listenKeys, ", "))
		case listeners[key] != nil:
			err = fmt.Errorf("systemd passes two sockets on for %s: leave one ListenStream= of that name", key)
		case c.address(key).IsZero():
			err = fmt.Errorf(`systemd passes a socket on for %s, which is "" in the config: set an address, or remove the socket`, key)
		}
		if err != nil {
			listeners.close()
			return nil, err
		}
		listeners[key] = sharedListener{ln}
	}
	return listeners, nil
}

// close closes the listeners that were not taken.
func (i inherited) close() {
	for _, ln := range i {
		_ = ln.Close()
	}
}

// openListener returns the inherited listener for the key. Without one it calls open until the
// address is free, for takeoverWait at most.
func (i inherited) openListener(ctx context.Context, key string, log zerolog.Logger, open func() (net.Listener, error)) (net.Listener, error) {
	if ln, ok := i[key]; ok {
		delete(i, key)
		log.Info().Str("key", key).Str("listen", ln.Addr().String()).Msg("listening on a socket of systemd in place of the configured address")
		return listen.Patient(ln, log), nil
	}
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
