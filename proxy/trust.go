package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"unsafe"

	"loadbalancer/proxy/message"
)

// Prefix is an address or a range of addresses. In its text, an address stands for the range of
// that one. The zero value contains no address.
type Prefix struct{ netip.Prefix }

// allowedPrefix describes valid prefixes, for error messages.
const allowedPrefix = "an address such as 10.0.0.1 or a range such as 10.0.0.0/8"

// UnmarshalText parses an address or a range. "" is the zero value. Its error says what is allowed.
func (p *Prefix) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Prefix{}
		return nil
	}
	parsed, err := parsePrefix(string(text))
	if err != nil {
		return errors.New(allowedPrefix)
	}
	p.Prefix = parsed
	return nil
}

// parsePrefix parses an address or a range of addresses.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // no peer's address has that form
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Trust holds the proxies whose statements about their clients are believed. The zero value trusts
// none. It is immutable, and safe for concurrent use.
type Trust struct {
	proxies []Prefix
	// field is the name, in lower case, of the field that holds the client's address. It is "" for
	// X-Forwarded-For, which lists addresses.
	field string
	// announce says that connections of the proxies begin with a PROXY header.
	announce bool
}

// NewTrust returns the trust of a valid config.
func NewTrust(c ServerConfig) *Trust {
	t := &Trust{proxies: c.TrustedProxies, field: strings.ToLower(string(c.ClientIPHeader)), announce: c.ProxyProtocol}
	if t.field == message.ForwardedFor {
		t.field = ""
	}
	return t
}

// Field returns the lower-case name of the field in which trusted proxies give the client's
// address.
func (t *Trust) Field() string {
	if t.field == "" {
		return message.ForwardedFor
	}
	return t.field
}

// trusts reports whether the peer's statements about its clients are believed.
func (t *Trust) trusts(peer netip.Addr) bool {
	for _, p := range t.proxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// client returns the address of a trusted peer's client. lines are the lines of the field that
// holds it. If that field is not X-Forwarded-For, only its last line counts, which must be one
// address. If it is missing or invalid, the peer itself is the client.
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

// walk goes through the addresses of X-Forwarded-For, last to first, as long as they are those of
// trusted proxies; the first other address is the client's. Anything but an address ends the walk,
// because no trusted proxy wrote it. Empty list elements do not count (RFC 9110, section 5.6.1.2).
func (t *Trust) walk(nearest netip.Addr, lines [][]byte) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		for list := lines[i]; len(list) > 0; {
			entry := list
			if c := bytes.LastIndexByte(list, ','); c >= 0 {
				entry, list = list[c+1:], list[:c]
			} else {
				list = nil
			}
			if entry = bytes.Trim(entry, " \t"); len(entry) == 0 {
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
