package clients

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// client is a client with terms of its own.
type client struct {
	limiter.Registration           // with the ID as parseClient returns it, and the zero Key if it has no name
	createdAt            time.Time // UTC, whole microseconds: what PostgreSQL keeps
	updatedAt            time.Time // as createdAt
}

const (
	maxName = 63 // bytes
	minKey  = 8  // bytes, so that "Bearer abc" is one; that keys are hard to guess is for who draws them to see to

	allowedAddress = "an IPv4 or IPv6 address or a CIDR range, such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32, " +
		"without zone and without leading zeros"
)

var (
	allowedName   = fmt.Sprintf("1 to %d letters, digits, '.', '_' and '-', the first of them a letter", maxName)
	allowedClient = "a name, which has " + allowedName + ", or " + allowedAddress
	allowedKey    = fmt.Sprintf("a string of %d to %d visible ASCII characters, inside which there may be single spaces",
		minKey, limiter.MaxKeySize)
)

// parseClient reads what stands for a client in a path: its name, its address or its range. No text is both.
func parseClient(field, text string) (limiter.ID, error) {
	if isName(text) {
		return limiter.ID{Name: text}, nil
	}
	prefix, err := parseAddress(field, text, allowedClient)
	return limiter.ID{Prefix: prefix}, err
}

// parseAddress reads an address or a CIDR range into the one form under which its client is kept: IPv4-mapped IPv6
// is IPv4, an address is the range of its full length, and a range has no host bits.
func parseAddress(field, text, allowed string) (netip.Prefix, error) {
	prefix, ok := parsePrefix(text)
	if !ok {
		return netip.Prefix{}, rest.Wrong(field, rest.Quote(text), allowed)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, rest.Wrong(field, rest.Quote(text),
			"a range whose bits behind the prefix are zero: "+limiter.ID{Prefix: masked}.String())
	}
	return prefix, nil
}

func parsePrefix(text string) (prefix netip.Prefix, ok bool) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	const mappedBits = 96 // the length of ::ffff:0:0/96, which holds IPv4 (RFC 4291, section 2.5.5.2)
	if prefix.Addr().Is4In6() && prefix.Bits() >= mappedBits {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix, true
}

// isName reports whether the text can be a name. A name is no address: those begin with a digit or hold a colon.
func isName(text string) bool {
	if len(text) == 0 || len(text) > maxName || !isLetter(text[0]) {
		return false
	}
	for i := range len(text) {
		if b := text[i]; !isLetter(b) && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' {
			return false
		}
	}
	return true
}

func isLetter(b byte) bool { return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' }

// isKey reports whether the text can be an API key: what a header field carries through every proxy unchanged
// (RFC 9110, section 5.5). Spaces are for schemes, as in "Bearer abc".
func isKey(text string) bool {
	if len(text) < minKey || len(text) > limiter.MaxKeySize {
		return false
	}
	for i := range len(text) {
		switch b := text[i]; {
		case '!' <= b && b <= '~':
		case b == ' ' && i > 0 && text[i-1] != ' ' && i < len(text)-1:
		default:
			return false
		}
	}
	return true
}
