package proxy

import (
	"net/netip"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/message"
)

// caller is where a request comes from.
type caller struct {
	addr    netip.Addr // the client's address
	key     uint64     // a hash of addr
	trusted bool       // the peer is a trusted proxy
}

// identify determines the client's address: the peer's own or, if the peer is a trusted proxy, the
// one in its field.
func (t *Trust) identify(peer netip.Addr, told *message.Forwarded) caller {
	c := caller{addr: peer, trusted: t.trusts(peer)}
	if c.trusted {
		c.addr = t.client(peer, told.Lines(t.field))
	}
	c.key = balance.AddrKey(c.addr)
	return c
}

// network returns a hash of the client's address or, as one client may have many addresses of IPv6,
// of its /64.
func (c *caller) network() uint64 {
	if c.addr.Is4() || c.addr.Is4In6() {
		return c.key
	}
	bytes := c.addr.As16()
	clear(bytes[8:])
	return balance.AddrKey(netip.AddrFrom16(bytes))
}
