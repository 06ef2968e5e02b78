package upstream

import (
	"errors"
	"net/netip"
	"strings"
)

// Limits of a host name in bytes (RFC 1035, section 2.3.4), without a trailing dot.
const (
	maxHostName  = 253
	maxHostLabel = 63
)

// CheckHostName returns nil for a name that DNS can carry, with or without a trailing dot, and
// otherwise an error that says what is allowed. Most addresses pass too.
func CheckHostName(host string) error {
	host = strings.TrimSuffix(host, ".")
	if len(host) > maxHostName {
		return errors.New("a host name of at most 253 bytes")
	}
	for label := range strings.SplitSeq(host, ".") {
		switch {
		case label == "":
			return errors.New("a host name without empty parts between its dots")
		case len(label) > maxHostLabel:
			return errors.New("a host name whose parts between the dots have at most 63 bytes each")
		case strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }):
			return errors.New("a host name of ASCII characters (the xn-- form of others), without spaces")
		}
	}
	return nil
}

// checkBackendHost returns nil for an address or a host name. It rejects forms that resolvers read
// in different ways, such as 127.1 and 0177.0.0.1.
func checkBackendHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if err := CheckHostName(host); err != nil {
		return err
	}
	if endsInNumber(host) {
		return errors.New("an address of four decimal numbers without leading zeros, such as 127.0.0.1, or a host name")
	}
	return nil
}

// endsInNumber reports whether the last label of a name is a number, which is true of every IPv4
// address and of no name (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func endsInNumber(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, isHex := strings.CutPrefix(last, "0x"); isHex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
