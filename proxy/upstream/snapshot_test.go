package upstream

import (
	"slices"
	"strings"
	"testing"

	"loadbalancer/proxy/balance"
)

// Backends are named by what they are: w has a weight, z has weight 0, r and s are of rank 1 and 2,
// b is a backup, o a backup of weight 0.
func TestChoose(t *testing.T) {
	for _, test := range []struct{ available, takes, spare, named string }{
		{"", "", "", ""},
		{"w1 w2", "w1 w2", "", "w1 w2"},
		{"w1 z1 b1 o1", "w1", "b1", "w1 z1"},
		{"z1 b1 b2 o1", "b1 b2", "", "z1 b1 b2"},
		{"b1", "b1", "", "b1"},
		{"z1 o1", "", "", "z1"},
		{"b1 s1 r1 w1 r2", "w1", "r1 r2 s1 b1", "w1"},
		{"b1 s1 r1 r2", "r1 r2", "s1 b1", "r1 r2"},
		{"b1 s1", "s1", "b1", "s1"},
	} {
		var available []*Backend
		sticky := StickyConfig{Cookie: "lb", Secret: "a secret of the tests"}
		for name := range strings.FieldsSeq(test.available) {
			b := newBackend(mustURL("http://"+name), "")
			c := BackendConfig{Weight: map[byte]int{'w': 3, 'r': 2, 's': 2, 'b': 1}[name[0]]}
			b.configure(place{c, map[byte]int{'r': 1, 's': 2, 'b': backupRank, 'o': backupRank}[name[0]]}, &PoolConfig{Sticky: sticky}, nil)
			available = append(available, b)
		}
		s := choose(available, nil)
		names := func(all []*Backend) string {
			var list []string
			for _, b := range all {
				list = append(list, strings.TrimSuffix(b.Name(), ":80"))
			}
			return strings.Join(list, " ")
		}
		var named []*Backend
		for _, b := range available {
			if s.at(b.cookie.Load().token[:]) == b {
				named = append(named, b)
			}
		}
		if got := names(s.backends); got != test.takes {
			t.Errorf("%s: new requests go to %q, want %q", test.available, got, test.takes)
		}
		if got := names(s.spare); got != test.spare {
			t.Errorf("%s: spare are %q, want %q", test.available, got, test.spare)
		}
		if got := names(named); got != test.named || len(s.named) != len(named) {
			t.Errorf("%s: clients stay at %q, want %q", test.available, got, test.named)
		}
		if s.weigh(balance.RoundRobin, slices.Repeat([]int{1}, len(s.backends)), nil); len(s.members) != len(s.backends) {
			t.Errorf("%s: the policy has %d members for %d backends", test.available, len(s.members), len(s.backends))
		}
	}
}

func TestToken(t *testing.T) {
	a, b := mustURL("http://10.0.0.1"), mustURL("http://10.0.0.2")
	if newToken("one", a) != newToken("one", mustURL("http://10.0.0.1:80")) {
		t.Error("two ways to write an address have different tokens")
	}
	if newToken("one", a) == newToken("one", b) || newToken("one", a) == newToken("two", a) {
		t.Error("two backends, or two secrets, have the same token")
	}
	const golden = "_xw0zvBlbFy8hON3V6Pstg" // a change moves all clients at an upgrade
	if got := newToken("a secret of the tests", a); string(got[:]) != golden {
		t.Errorf("the token is %s, want %s", got, golden)
	}
}
