package proxy

import (
	"bytes"
	"net/netip"
	"strings"
)

// Trust holds the proxies whose word about their clients is believed. The zero value trusts none. It
// never changes, and is safe for concurrent use.
type Trust struct {
	proxies []netip.Prefix
	field   string // name, in lower case, of the field that holds the client's address; "" for X-Forwarded-For, which lists addresses
}

// NewTrust returns the trust of a validated config.
func NewTrust(c ServerConfig) *Trust {
	t := &Trust{field: strings.ToLower(string(c.ClientIPHeader))}
	if t.field == forwardedFor {
		t.field = ""
	}
	for _, s := range c.TrustedProxies {
		prefix, err := parsePrefix(s)
		if err != nil {
			panic("BUG: trusted_proxies was not validated: " + err.Error())
		}
		t.proxies = append(t.proxies, prefix)
	}
	return t
}

// Field returns the name, in lower case, of the field that trusted proxies tell the client's address
// in.
func (t *Trust) Field() string {
	if t.field == "" {
		return forwardedFor
	}
	return t.field
}

// trusts reports whether what the peer says of its clients is believed.
func (t *Trust) trusts(peer netip.Addr) bool {
	for _, p := range t.proxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// client returns the address of the client of a trusted peer, which sent these lines of the field
// that tells it. Of a field other than X-Forwarded-For the last line counts, and holds one address;
// without one the peer itself is the client.
func (t *Trust) client(peer netip.Addr, lines [][]byte) netip.Addr {
	if t.field == "" {
		return t.walk(peer, lines)
	}
	if len(lines) > 0 {
		if addr, ok := parseForwardedAddr(lines[len(lines)-1]); ok {
			return addr
		}
	}
	return peer
}

// walk goes through the addresses of X-Forwarded-For from the last one for as long as they are
// those of trusted proxies; the first other one is the client's. Anything but an address ends the
// walk, because no trusted proxy wrote it. Empty elements of the list do not count (RFC 9110,
// section 5.6.1.2).
func (t *Trust) walk(nearest netip.Addr, lines [][]byte) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		for list := lines[i]; len(list) > 0; {
			entry := list
			if c := bytes.LastIndexByte(list, ','); c >= 0 {
				entry, list = list[c+1:], list[:c]
			} else {
				list = nil
			}
			if entry = trimSpace(entry); len(entry) == 0 {
				continue
			}
			addr, ok := parseForwardedAddr(entry)
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
