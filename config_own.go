package main

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"loadbalancer/proxy/listen"
	"loadbalancer/proxy/upstream"
)

// ownListener returns the key of the balancer's own listener at a backend's address, or "". A
// request sent there would come back to the balancer endlessly.
func (c *config) ownListener(backend upstream.URL, interfaces []netip.Addr) string {
	for _, key := range listenKeys {
		if leadsTo(backend, c.address(key), interfaces) {
			return key
		}
	}
	return ""
}

// leadsTo reports whether a connection to a backend reaches the listener. Names other than
// localhost are not looked up.
func leadsTo(backend upstream.URL, listener listen.Address, interfaces []netip.Addr) bool {
	if socket, ok := listener.Socket(); ok {
		path, err := filepath.Abs(socket)
		return err == nil && backend.Network() == "unix" && filepath.Clean(backend.Address()) == path
	}
	listenHost, listenPort := listener.HostPort()
	if listenPort == "0" {
		return false
	}
	host, port, err := net.SplitHostPort(backend.Address())
	if err != nil || port != listenPort {
		return false
	}
	for _, to := range destinations(host) {
		if covers(listenHost, to, interfaces) {
			return true
		}
	}
	return false
}

// destinations returns the addresses that a connection to a host goes to, as far as they are known
// without DNS. The unspecified address leads to this machine.
func destinations(host string) []netip.Addr {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	a, err := netip.ParseAddr(host)
	switch {
	case name == "localhost", strings.HasSuffix(name, ".localhost"), err == nil && a.IsUnspecified():
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	case err == nil:
		return []netip.Addr{a.Unmap().WithZone("")}
	}
	return nil
}

// covers reports whether a listener on a host accepts connections to an address of this machine.
func covers(listenHost string, to netip.Addr, interfaces []netip.Addr) bool {
	if strings.EqualFold(listenHost, "localhost") {
		listenHost = "127.0.0.1"
	}
	a, err := netip.ParseAddr(listenHost)
	switch {
	case listenHost != "" && err != nil:
		return false
	case listenHost != "" && !a.IsUnspecified():
		return a.Unmap().WithZone("") == to
	case a.Is4() && to.Is6():
		return false
	}
	return to.IsLoopback() || slices.Contains(interfaces, to)
}

// interfaceAddresses returns the addresses of this machine.
func interfaceAddresses() (all []netip.Addr) {
	addresses, _ := net.InterfaceAddrs() // on an error, only loopback addresses are known
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(network.IP); ok {
				all = append(all, ip.Unmap().WithZone(""))
			}
		}
	}
	return all
}
