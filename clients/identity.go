package clients

import (
	"net/netip"
	"strings"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

const allowedAddress = "an IPv4 or IPv6 address or a CIDR range, such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32, " +
	"without zone and without leading zeros"

var (
	allowedName   = store.AllowedName
	allowedClient = "a name, which has " + allowedName + ", or " + allowedAddress
)

// parseClient parses the name, address or range that identifies a client in a path. A name is never
// a valid address.
func parseClient(field, text string) (limiter.ID, error) {
	if store.IsName(text) {
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
	return store.Unmap(prefix), true
}
