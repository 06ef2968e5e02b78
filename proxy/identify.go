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
