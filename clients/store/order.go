package store

import (
	"bytes"
	"fmt"
	"net/netip"

	"loadbalancer/limiter"
)

// The first byte of an orderKey.
const (
	noKind   = 0
	ipv4Kind = 4
	ipv6Kind = 6
	nameKind = 'n'
)

// orderKey returns a key whose bytes sort in the order of Records.Clients, which for ranges is the
// order of the PostgreSQL type cidr. The key of a range is its family, the address in 16 bytes and
// the prefix length; the key of a name is a kind byte and the name. The zero ID sorts first.
func orderKey(id limiter.ID) []byte {
	if id.Name != "" {
		return append([]byte{nameKind}, id.Name...)
	}
	if !id.Prefix.IsValid() {
		return []byte{noKind}
	}
	key := []byte{ipv6Kind}
	if id.Prefix.Addr().Is4() {
		key[0] = ipv4Kind
	}
	addr := id.Prefix.Addr().As16()
	return append(append(key, addr[:]...), byte(id.Prefix.Bits()))
}

// keyID is the inverse of orderKey.
func keyID(key []byte) (limiter.ID, error) {
	const rangeSize = 1 + 16 + 1
	switch {
	case len(key) > 0 && key[0] == nameKind && IsName(string(key[1:])):
		return limiter.ID{Name: string(key[1:])}, nil
	case len(key) == rangeSize && (key[0] == ipv4Kind || key[0] == ipv6Kind):
		addr := netip.AddrFrom16([16]byte(key[1:17]))
		if key[0] == ipv4Kind {
			addr = addr.Unmap()
		}
		if prefix := netip.PrefixFrom(addr, int(key[17])); prefix.IsValid() {
			return limiter.ID{Prefix: prefix}, nil
		}
	}
	return limiter.ID{}, fmt.Errorf("the key %x is of no client", key)
}

// Compare orders clients as Records.Clients does.
func Compare(a, b limiter.ID) int { return bytes.Compare(orderKey(a), orderKey(b)) }
