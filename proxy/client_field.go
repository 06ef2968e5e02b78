package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// ClientIPHeader is the name of the field in which trusted proxies send a client's address.
type ClientIPHeader string

const (
	maxClientIPHeader = 64 // bytes
	forwardedFor      = "x-forwarded-for"
)

// UnmarshalYAML reads the name of a field that can hold an address.
func (h *ClientIPHeader) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || !holdsClientIP(n.Value) {
		return fmt.Errorf("the name of a field, such as X-Forwarded-For, X-Real-IP or CF-Connecting-IP, of at most %d bytes, "+
			"and not one that the balancer uses in another way", maxClientIPHeader)
	}
	*h = ClientIPHeader(n.Value)
	return nil
}

// holdsClientIP reports whether the field of this name can hold a client's address: the proxy
// neither refuses it nor uses it for anything else, and it is neither a list of hops nor a
// credential.
func holdsClientIP(name string) bool {
	if name == "" || len(name) > maxClientIPHeader || !onlyClass([]byte(name), classToken) {
		return false
	}
	lower := strings.ToLower(name)
	switch dashedKind([]byte(lower)) {
	case kindOther:
		return !slices.Contains([]string{"cookie", "via"}, lower)
	case kindForwardedFor, kindRealIP:
		return !strings.Contains(lower, "_")
	}
	return false
}

// The fields that hold only a client's address, as bits: X-Real-IP, which many backends trust, and
// the field of server.client_ip_header.
const (
	realIPField = 1 << iota
	toldField
)

// addressField returns which of these fields f is, or 0.
func (h *hopOptions) addressField(f *field) uint8 {
	switch {
	case f.kind == kindRealIP:
		return realIPField
	case h.tells(f.name):
		return toldField
	}
	return 0
}

// tells reports whether the name is that of server.client_ip_header, or differs from it only in _
// and -.
func (h *hopOptions) tells(name []byte) bool {
	return len(name) == len(h.told) && equalDashed(name, h.told)
}

// noteClientIP records the value of the field named by server.client_ip_header; the last one
// counts. ok is false for a name that differs from it only in _ and -: a backend that reads names
// as CGI does would mistake it for that field.
func (r *request) noteClientIP(f *field) (ok bool) {
	if !r.hop.tells(f.name) {
		return true
	}
	r.forwarded.told[0] = f.value
	return equalFold(f.name, r.hop.told)
}

// appendAddress appends a field whose value is an address.
func appendAddress(dst, name []byte, addr netip.Addr) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(addr.AppendTo(dst), "\r\n"...)
}
