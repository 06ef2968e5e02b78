package proxy

import (
	"bytes"
	"net/netip"
	"unsafe"

	"loadbalancer/limiter"
	"loadbalancer/proxy/balance"
)

// identify determines the client's address: the peer's own or, if the peer is a trusted proxy, the
// one in its field.
func (p *Proxy) identify(x *exchange) {
	x.addr = x.client.peer
	x.trusted = p.trust.trusts(x.addr)
	if x.trusted {
		x.addr = p.trust.client(x.addr, x.request.Forwarded.Lines(p.trust.field))
	}
	x.key = balance.AddrKey(x.addr)
}

// apiKey returns the API key, or nil if there is none that a client could have.
func (r *request) apiKey() []byte {
	if len(r.Key) > limiter.MaxKeySize {
		return nil
	}
	return r.Key
}

// parseForwardedAddr parses an address as proxies write it: with or without a port, IPv6 with or
// without brackets.
func parseForwardedAddr(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 60 {
		return netip.Addr{}, false
	}
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || end+1 < len(b) && b[end+1] != ':' {
			return netip.Addr{}, false
		}
		b = b[1:end]
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 && bytes.LastIndexByte(b, ':') == colon {
		b = b[:colon] // one colon: 192.0.2.1:4711
	}
	// No copy is needed: the address does not keep the text, and the error is dropped.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}
