package limiter

import (
	"math/big"
	"net/netip"
	"testing"
)

// The sum of products, in whole numbers of any size, is what the hash permutes.
func TestHashIsTheSumOfProducts(t *testing.T) {
	k := testHash()
	wide := func(w word128) *big.Int {
		n := new(big.Int).Lsh(new(big.Int).SetUint64(w.hi), 64)
		return n.Add(n, new(big.Int).SetUint64(w.lo))
	}
	for _, text := range []string{"0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		a := addressOf(netip.MustParseAddr(text))
		sum := wide(k.add)
		sum.Add(sum, new(big.Int).Mul(wide(k.hi), new(big.Int).SetUint64(a.hi)))
		sum.Add(sum, new(big.Int).Mul(wide(k.lo), new(big.Int).SetUint64(a.lo)))
		upper := new(big.Int).Rsh(sum, 64)
		if want := permute(upper.And(upper, new(big.Int).SetUint64(1<<64-1)).Uint64()); k.hash(a) != want {
			t.Errorf("%s: hash %x, want %x", text, k.hash(a), want)
		}
	}
}

// Neighbours fall as evenly into groups as if at random: of a million in 62,500 groups, that one
// has 64 or more is less likely than 1 in 10^13.
func TestHashSpreadsNeighbours(t *testing.T) {
	for name, at := range map[string]func(i uint64) address{
		"IPv4":        func(i uint64) address { return address{0, mapped | 10<<24 + i} },
		"IPv6 /64":    func(i uint64) address { return address{0x20010db8<<32 + i, 0} },
		"every 2^16":  func(i uint64) address { return address{i << 16, 0} },
		"within a 64": func(i uint64) address { return address{0x20010db8 << 32, i} },
	} {
		k, most := testHash(), 0
		groups := make([]int, 62_500)
		for i := range uint64(1_000_000) {
			g := &groups[k.hash(at(i))/(1<<64/62_500+1)]
			*g++
			most = max(most, *g)
		}
		if most > 64 || most < 30 {
			t.Errorf("%s: %d in the fullest group, want about 40", name, most)
		}
	}
}

func TestAddressOf(t *testing.T) {
	for _, text := range []string{"192.0.2.1", "0.0.0.0", "::", "::1", "2001:db8::ff00:42:8329"} {
		a := netip.MustParseAddr(text)
		if got := addressOf(a).addr(); got != a {
			t.Errorf("%s comes back as %s", a, got)
		}
		if addressOf(a).is4() != a.Is4() {
			t.Errorf("%s: is4 is %v", a, addressOf(a).is4())
		}
	}
	if addressOf(netip.MustParseAddr("::ffff:192.0.2.1")) != addressOf(netip.MustParseAddr("192.0.2.1")) {
		t.Error("an address mapped to IPv6 is another")
	}
}
