package proxy

import (
	"bytes"
	"net/netip"
)

// trust holds the proxies whose word about their clients is believed. The zero value trusts none.
// It does not change.
type trust struct {
	proxies []netip.Prefix
}

// newTrust makes the trust of a validated config.
func newTrust(c ServerConfig) trust {
	var t trust
	for _, s := range c.TrustedProxies {
		prefix, err := parsePrefix(s)
		if err != nil {
			panic("BUG: trusted_proxies was not validated: " + err.Error())
		}
		t.proxies = append(t.proxies, prefix)
	}
	return t
}

// trusts reports whether what the peer says of its clients is believed.
func (t *trust) trusts(peer netip.Addr) bool {
	for _, p := range t.proxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// client returns the address of the client of a trusted peer, which sent these lines of
// X-Forwarded-For. It walks the addresses from the last one for as long as they are those of
// trusted proxies; the first other one is the client. Anything but an address ends the walk: no
// trusted proxy wrote it.
func (t *trust) client(peer netip.Addr, lines [][]byte) netip.Addr {
	nearest := peer
	for i := len(lines) - 1; i >= 0; i-- {
		for list := lines[i]; len(list) > 0; {
			entry := list
			if c := bytes.LastIndexByte(list, ','); c >= 0 {
				entry, list = list[c+1:], list[:c]
			} else {
				list = nil
			}
			addr, ok := parseForwardedAddr(trimSpace(entry))
			if !ok {
				return nearest
			}
			if nearest = addr; !t.trusts(addr) {
				return nearest
			}
		}
	}
	return nearest
}
