package main

import (
	"errors"
	"net"

	"loadbalancer/proxy/listen"
)

// move is a listener whose address has changed.
type move struct {
	of *listen.Swap
	to net.Listener // nil: it is turned off
}

type moves []move

// openListeners opens the listeners whose addresses have changed, or none.
func (p *parts) openListeners(before, after config) (all moves, err error) {
	for _, l := range []struct {
		of       *listen.Swap
		was, now listen.Address
		open     func() (net.Listener, error)
	}{
		{p.front, before.Server.Listen, after.Server.Listen, func() (net.Listener, error) { return p.open("server.listen", after) }},
		{p.secure, before.Server.TLS.Listen, after.Server.TLS.Listen, func() (net.Listener, error) { return p.open("server.tls.listen", after) }},
		{p.plain, before.Server.TLS.RedirectFrom, after.Server.TLS.RedirectFrom, func() (net.Listener, error) { return p.open("server.tls.redirect_from", after) }},
		{p.back, before.Management.Listen, after.Management.Listen, func() (net.Listener, error) { return after.Management.Open(p.log) }},
	} {
		if l.was == l.now {
			continue
		}
		to, err := l.open()
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all = append(all, move{l.of, to})
	}
	return all, nil
}

// open opens a listener of clients. It returns nil where the config turns it off.
func (p *parts) open(key string, c config) (net.Listener, error) {
	address := c.address(key)
	if address.IsZero() {
		return nil, nil
	}
	return listen.Open(key, address, c.Server.UnixMode, p.log)
}

// use has clients accepted at the new addresses, and no longer at those before.
func (all moves) use() {
	for _, m := range all {
		m.of.Use(m.to)
	}
}

// close closes what was opened.
func (all moves) close() (err error) {
	for _, m := range all {
		if m.to != nil {
			err = errors.Join(err, m.to.Close())
		}
	}
	return err
}
