package message

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// ClientIPHeader is the name of the field in which trusted proxies send a client's address.
type ClientIPHeader string

const maxClientIPHeader = 64 // bytes

// ForwardedFor is the name, in lower case, of the field that lists a client's address and those of
// proxies.
const ForwardedFor = "x-forwarded-for"

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
	if name == "" || len(name) > maxClientIPHeader || !Token.HasAll([]byte(name)) {
		return false
	}
	lower := strings.ToLower(name)
	switch dashedKind([]byte(lower)) {
	case kindOther, kindRateLimit, kindLegacyRateLimit:
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
	clientIPField
)

// addressField returns which of these fields f is, or 0.
func (h *hop) addressField(f *field) uint8 {
	switch {
	case f.kind == kindRealIP:
		return realIPField
	case h.isClientField(f.name):
		return clientIPField
	}
	return 0
}
