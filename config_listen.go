package main

import (
	"strconv"

	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
)

// listenKeys are the keys of the addresses that the process listens on.
var listenKeys = []string{"server.listen", "server.tls.listen", "server.tls.redirect_from", "management.listen"}

// address returns the one that the process listens on for a key; the zero value is none.
func (c *config) address(key string) listen.Address {
	return map[string]listen.Address{
		"server.listen":            c.Server.Listen,
		"server.tls.listen":        c.Server.TLS.Listen,
		"server.tls.redirect_from": c.Server.TLS.RedirectFrom,
		"management.listen":        c.Management.Listen,
	}[key]
}

// isSecure reports whether server.listen itself speaks TLS.
func (c *serverConfig) isSecure() bool { return c.TLS.IsOn() && c.TLS.Listen.IsZero() }

// ports returns those of the listeners of clients, as the file has them.
func (c *serverConfig) ports() proxy.Ports {
	p := proxy.Ports{TLS: listenPort(c.TLS.Listen), TLSAlone: c.isSecure(), Redirect: listenPort(c.TLS.RedirectFrom)}
	if p.TLSAlone {
		p.TLS = listenPort(c.Listen)
	}
	return p
}

// listenPort returns the port of an address; 0 if there is no address, and -1 if the file does not say.
func listenPort(a listen.Address) int {
	if a.IsZero() {
		return 0
	}
	_, port := a.HostPort()
	if n, err := strconv.Atoi(port); err == nil && n > 0 {
		return n
	}
	return -1
}
