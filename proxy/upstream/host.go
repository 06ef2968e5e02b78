package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Host says which Host the backends of a pool get: HostPreserve, HostBackend, or the name itself.
type Host string

// The values of Host that are no name.
const (
	HostPreserve Host = "preserve" // that of the request
	HostBackend  Host = "backend"  // that of the backend's URL
)

// UnmarshalText reads a Host. Its error says what is allowed.
func (h *Host) UnmarshalText(text []byte) error {
	if !isHostField(string(text)) { // as the words are, too
		return errors.New("preserve, backend, or a host name with or without a port, such as api.example.com")
	}
	*h = Host(text)
	return nil
}

// isHostField reports whether a text is a host name or an address, with or without a port.
func isHostField(text string) bool {
	host := text
	if name, port, err := net.SplitHostPort(text); err == nil {
		if !isPort(port) {
			return false
		}
		host = name
		if strings.HasPrefix(text, "[") {
			a, err := netip.ParseAddr(host)
			return err == nil && a.Is6() && a.Zone() == ""
		}
	}
	if strings.HasPrefix(text, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(text[1:], "]"))
		return err == nil && a.Is6() && a.Zone() == "" && strings.HasSuffix(text, "]")
	}
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	}
	return !strings.ContainsFunc(host, outside) && CheckHostName(host) == nil
}

// of returns the Host that the backend of this URL gets in place of the request's, or "" for that
// of the request.
func (h Host) of(u URL) string {
	switch h {
	case HostPreserve:
		return ""
	case HostBackend:
		return u.host
	}
	return string(h)
}
