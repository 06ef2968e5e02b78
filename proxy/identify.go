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
		x.addr = p.trust.client(x.addr, x.request.forwarded.lines(p.trust.field))
	}
	x.key = balance.AddrKey(x.addr)
}

// noteKey records the value of a field that is named like the API key field. ok is false for a
// second one: the backend might use either, and a client with an empty bucket could send its key
// twice to be limited by its address instead. ok is also false for a name that differs only in _
// and -: a backend that reads names as CGI does would take that field for the key.
func (r *request) noteKey(f *field) (ok bool) {
	if !r.hop.isKey(f.name) {
		return true
	}
	ok = !r.hasKey && equalFold(f.name, r.hop.key)
	r.hasKey, r.key = true, f.value
	return ok
}

// apiKey returns the API key, or nil if there is none that a client could have.
func (r *request) apiKey() []byte {
	if len(r.key) > limiter.MaxKeySize {
		return nil
	}
	return r.key
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
