package clients

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// client is a registered client, which has terms of its own.
type client struct {
	limiter.Registration           // ID as parseClient returns it; zero Key without a name
	createdAt            time.Time // UTC, whole microseconds: PostgreSQL keeps no more
	updatedAt            time.Time // as createdAt
}

const (
	maxName = 63 // bytes

	// minKey is the length of the shortest key in bytes. It admits "Bearer abc": making keys hard
	// to guess is up to the operator.
	minKey = 8

	allowedAddress = "an IPv4 or IPv6 address or a CIDR range, such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32, " +
		"without zone and without leading zeros"
)

var (
	allowedName   = fmt.Sprintf("1 to %d letters, digits, '.', '_' and '-', the first of them a letter", maxName)
	allowedClient = "a name, which has " + allowedName + ", or " + allowedAddress
	allowedKey    = fmt.Sprintf("a string of %d to %d visible ASCII characters, inside which there may be single spaces",
		minKey, limiter.MaxKeySize)
)

// parseClient parses the name, address or range that identifies a client in a path. A name is never
// a valid address.
func parseClient(field, text string) (limiter.ID, error) {
	if isName(text) {
		return limiter.ID{Name: text}, nil
	}
	prefix, err := parseAddress(field, text, allowedClient)
	return limiter.ID{Prefix: prefix}, err
}

// parseAddress parses an address or a CIDR range into its canonical form, under which the client is
// stored: IPv4-mapped IPv6 becomes IPv4, an address becomes a range of its full length, and a range
// with host bits is refused.
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

// isName reports whether the text is a valid name. A name is never a valid address, because an
// address begins with a digit or contains a colon.
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

// isKey reports whether the text is a valid API key, which every proxy passes on unchanged in a
// header field (RFC 9110, section 5.5). Spaces are allowed for schemes, as in "Bearer abc".
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
