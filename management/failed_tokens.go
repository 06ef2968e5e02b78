package management

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxFailedTokens = 10   // wrong tokens in a second that an address may send before calls get 429
	maxFailing      = 4096 // addresses that are counted by themselves; the others share one count
)

// failedTokens counts wrong tokens by address, for a second at a time: at most maxFailing addresses
// are held, an IPv6 address as its /64. The zero value is ready to use. It is safe for concurrent
// use.
type failedTokens struct {
	mu     sync.Mutex
	began  time.Time // the present second, with its first wrong token
	counts map[netip.Prefix]int
	others int

	refused   int        // calls over the bound of which no line was logged
	from      netip.Addr // the last of them
	lastLined time.Time
}

// refusals are calls refused for too many wrong tokens, for a line of the log.
type refusals struct {
	calls   int // 0: there is nothing to log
	address netip.Addr
}

// add counts a wrong token from an address and reports whether there were too many.
func (f *failedTokens) add(now time.Time, address netip.Addr) (tooMany bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.began) >= time.Second {
		f.began, f.others = now, 0
		clear(f.counts)
	}
	if tooMany = f.count(address) > maxFailedTokens; tooMany {
		f.refused, f.from = f.refused+1, address
	}
	return tooMany
}

// count adds one to the count of an address and returns it.
func (f *failedTokens) count(address netip.Addr) int {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits) // bits are in range
	if _, known := f.counts[network]; !known && len(f.counts) >= maxFailing {
		f.others++
		return f.others
	}
	if f.counts == nil {
		f.counts = map[netip.Prefix]int{}
	}
	f.counts[network]++
	return f.counts[network]
}

// due returns the refusals of which no line was logged, once a second at most.
func (f *failedTokens) due(now time.Time) refusals {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused == 0 || now.Sub(f.lastLined) < time.Second {
		return refusals{}
	}
	r := refusals{f.refused, f.from}
	f.refused, f.lastLined = 0, now
	return r
}
