package upstream

import (
	"cmp"
	"net/netip"
	"slices"
)

// target is what a look-up has found of one host, in one of the families.
type target struct {
	host, family     string
	port             uint16       // of an SRV record, or 0
	priority, weight uint16       // of an SRV record, or 0
	addresses        []netip.Addr // in order; nil: they are not known
}

// sortTargets brings targets into an order that does not depend on that of the records.
func sortTargets(targets []target) {
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.host, b.host),
			cmp.Compare(a.port, b.port), cmp.Compare(a.weight, b.weight), cmp.Compare(a.family, b.family))
	})
}

// keep returns what holds after a further look-up: what it has found or, where it has failed, what
// was found last. It fails as a whole (now is nil) or for single targets.
func keep(last, now []target) []target {
	if now == nil {
		return last
	}
	kept := slices.Clone(now)
	for i, t := range kept {
		if known := slices.IndexFunc(last, func(l target) bool { return l.host == t.host && l.family == t.family }); t.addresses == nil && known >= 0 {
			kept[i].addresses = last[known].addresses
		}
	}
	return kept
}

// addresses returns those of all targets, each once.
func addresses(targets []target) (all []netip.AddrPort) {
	for _, t := range targets {
		for _, a := range t.addresses {
			if at := netip.AddrPortFrom(a, t.port); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}
