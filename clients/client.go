package clients

import (
	"net/netip"
	"strings"
	"time"

	"loadbalancer/limiter"
)

// client is a client with a limit of its own.
type client struct {
	id        netip.Prefix // as parseID returns it
	limit     limiter.Limit
	createdAt time.Time // UTC, whole microseconds: what PostgreSQL keeps
	updatedAt time.Time // as createdAt
}

const allowedID = "an IPv4 or IPv6 address or a CIDR range, such as 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32, " +
	"without zone and without leading zeros"

// parseID reads an address or a CIDR range into the one form under which its client is kept: IPv4-mapped IPv6 is
// IPv4, an address is the range of its full length, and a range has no host bits.
func parseID(field, text string) (netip.Prefix, error) {
	id, ok := parsePrefix(text)
	if !ok {
		return netip.Prefix{}, wrongValue(field, quote(text), allowedID)
	}
	if masked := id.Masked(); masked != id {
		return netip.Prefix{}, wrongValue(field, quote(text),
			"a range whose bits behind the prefix are zero: "+formatID(masked))
	}
	return id, nil
}

func parsePrefix(text string) (id netip.Prefix, ok bool) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	id, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	const mappedBits = 96 // the length of ::ffff:0:0/96, which holds IPv4 (RFC 4291, section 2.5.5.2)
	if id.Addr().Is4In6() && id.Bits() >= mappedBits {
		id = netip.PrefixFrom(id.Addr().Unmap(), id.Bits()-mappedBits)
	}
	return id, true
}

// formatID is the inverse of parseID: the ip_address of a client.
func formatID(id netip.Prefix) string {
	if id.IsSingleIP() {
		return id.Addr().String()
	}
	return id.String()
}
