package upstream

import "net/netip"

// place is a backend that the pool has now.
type place struct {
	BackendConfig     // its URL is an address
	rank          int // requests go to the places of the lowest rank of which one takes any
}

// backupRank is the lowest rank of a backup, above those of all priorities of SRV records.
const backupRank = 1 << 16

// places returns the backends of a config: those with an address, and one for each address that a
// name has led to. Of several at one address the first counts.
func places(configured []BackendConfig, found func(question) []target) (all []place) {
	seen := map[string]bool{}
	for _, c := range configured {
		for _, p := range c.places(found) {
			if !seen[p.URL.address] {
				seen[p.URL.address] = true
				all = append(all, p)
			}
		}
	}
	return all
}

// places returns the backends that c stands for.
func (c BackendConfig) places(found func(question) []target) (all []place) {
	c.URL.http2 = c.URL.http2 || c.Protocol == ProtocolHTTP2
	rank := 0
	if c.Backup {
		rank = backupRank
	}
	if c.URL.lookup == (question{}) {
		return []place{{c, rank}}
	}
	targets := found(c.URL.lookup)
	greatest := c.Weight
	if c.URL.lookup.service {
		for _, t := range targets {
			greatest = max(greatest, c.srvWeight(t))
		}
	}
	for i, t := range targets { // in order of their priorities
		if i > 0 && t.priority != targets[i-1].priority {
			rank++
		}
		p := place{c, rank}
		port := c.URL.port
		if c.URL.lookup.service {
			port = t.port
			if p.Weight = c.srvWeight(t); greatest > maxWeight && p.Weight > 0 {
				p.Weight = max(1, p.Weight*maxWeight/greatest)
			}
		}
		for _, a := range t.addresses {
			p.URL = c.URL.at(netip.AddrPortFrom(a, port))
			all = append(all, p)
		}
	}
	return all
}

// srvWeight returns the weight of an SRV record, times that of the config. A record of weight 0,
// which is to get the fewest requests, counts as 1.
func (c *BackendConfig) srvWeight(t target) int { return c.Weight * max(1, int(t.weight)) }
