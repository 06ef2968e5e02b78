package limiter

import (
	"hash/maphash"
	"net/netip"
)

// named identifies a registered client that is not an address: a range, or a name with its keys. It
// never changes.
type named struct {
	name   string
	within *netip.Prefix // nil if the client has a name
	keys   keyring
}

func newNamed(id ID, keys keyring) *named {
	if id.Name != "" {
		return &named{name: id.Name, keys: keys}
	}
	return &named{within: &id.Prefix}
}

func (n *named) id() ID {
	if n.within == nil {
		return ID{Name: n.name}
	}
	return ID{Prefix: *n.within}
}

// mark takes the place of the hash of an address in rejections.
func (l *Limiter) mark(n *named) uint64 {
	if n.within == nil {
		return key(maphash.String(l.names.seed, n.name))
	}
	return key(permute(l.secret.hash(addressOf(n.within.Addr())) + uint64(n.within.Bits())))
}

// several reports whether the client has several keys.
func (a *account) several() bool {
	n := a.named.Load()
	return n != nil && n.keys.more != nil
}

// has reports whether requests that found the client by a key with the word still belong to it.
func (a *account) has(word uint64) bool {
	n := a.named.Load()
	return n == nil || n.within != nil || n.keys.leads(word)
}
