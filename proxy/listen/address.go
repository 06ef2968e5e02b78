package listen

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	unixPrefix = "unix:"

	// AllowedAddress describes valid addresses, for error messages.
	AllowedAddress = "host:port, such as 127.0.0.1:8080 or :8080, or unix:/path"
)

// Address is an address to listen on: host:port, where an empty host means all addresses of the
// machine, or unix:/path. The zero value means not to listen.
type Address struct{ text string }

// ParseAddress parses an address. "" is the zero value. Its error says what is allowed.
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, unixPrefix); ok || text == "" {
		if ok && path == "" {
			return Address{}, errors.New(AllowedAddress)
		}
		return Address{text}, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, errors.New(AllowedAddress)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return Address{}, errors.New("a port from 0 to 65535, without a leading zero, as in " + AllowedAddress)
	}
	return Address{text}, nil
}

// UnmarshalText is ParseAddress.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAddress(string(text))
	return err
}

// String returns the address as it was written.
func (a Address) String() string { return a.text }

// IsZero reports whether the address is the zero value.
func (a Address) IsZero() bool { return a.text == "" }

// Socket returns the path of a unix socket.
func (a Address) Socket() (path string, ok bool) { return strings.CutPrefix(a.text, unixPrefix) }

// HostPort returns the host and port of a TCP address. Both are empty for a unix socket.
func (a Address) HostPort() (host, port string) {
	if _, ok := a.Socket(); ok {
		return "", ""
	}
	host, port, _ = net.SplitHostPort(a.text) // parsed, or the zero value
	return host, port
}

// Overlaps reports whether the two addresses cannot both be listened on.
func (a Address) Overlaps(b Address) bool {
	pathA, isSocketA := a.Socket()
	pathB, isSocketB := b.Socket()
	if isSocketA || isSocketB {
		return isSocketA && isSocketB && absolute(pathA) == absolute(pathB)
	}
	hostA, portA := a.HostPort()
	hostB, portB := b.HostPort()
	if portA != portB || portA == "0" || portA == "" {
		return false
	}
	hostA, hostB = numeric(hostA), numeric(hostB)
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

// numeric returns a host in the one form of its address, if it is one.
func numeric(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return host
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil && !strings.HasPrefix(path, "@") {
		return abs
	}
	return path
}

func isWildcard(host string) bool {
	return host == "" || net.ParseIP(host).IsUnspecified()
}
