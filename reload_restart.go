package main

import (
	"slices"

	"loadbalancer/proxy/listen"
)

// fixed are the keys that are read at the start alone.
var fixed = []string{
	"clients.audit.max_age", "clients.audit.max_count", "clients.snapshot", "clients.store",
	"limiter.ipv6_prefix", "limiter.max_tracked", "limiter.share",
	"server.max_header_size", "server.state", "server.tls.acme.storage", "server.unix_mode",
}

// storeKeys are the keys that may make the client store needed, which is opened at the start alone.
var storeKeys = []string{"limiter.enabled", "management.listen", "management.api_on_proxy"}

// secureKeys are the keys that say whether server.listen speaks TLS.
var secureKeys = []string{"server.tls.listen", "server.tls.certificates", "server.tls.acme.domains"}

// needRestart returns a fault of the file for each change from one config to another that needs a
// restart. hasStore reports whether the client store is open.
func needRestart(d *document, before, after config, changes []change, hasStore bool) error {
	for _, c := range changes {
		switch {
		case slices.Contains(fixed, c.path):
			d.needsRestart(c.path, c.what)
		case slices.Contains(storeKeys, c.path) && after.needsClients() && !hasStore:
			d.needsRestart(c.path, c.what+" needs the client store, which is opened at the start alone")
		case slices.Contains(listenKeys, c.path) && isUsed(after.address(c.path), before):
			d.needsRestart(c.path, c.what+" is an address that this process listens on")
		case slices.Contains(secureKeys, c.path) && before.Server.isSecure() != after.Server.isSecure():
			d.needsRestart(c.path, c.what+" changes whether server.listen speaks TLS")
		}
	}
	return d.err()
}

// isUsed reports whether a listener of the config is in the way of one at the address.
func isUsed(at listen.Address, by config) bool {
	return slices.ContainsFunc(listenKeys, func(key string) bool { return at.Overlaps(by.address(key)) })
}

// needsRestart records that what has changed at a path needs a restart.
func (d *document) needsRestart(path, what string) {
	d.note(d.near(path), path+": ", what+": this change needs a restart; undo it, or restart")
}
