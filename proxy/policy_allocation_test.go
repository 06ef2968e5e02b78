//go:build !race

package proxy

import (
	"net/netip"
	"testing"
)

func TestPoliciesDoNotAllocate(t *testing.T) {
	for name, pick := range policies {
		for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
			s, key := newTestSnapshot(weights...), uint64(0)
			if n := testing.AllocsPerRun(1000, func() { key++; pick(s, key) }); n != 0 {
				t.Errorf("%s with weights %v: %v allocations", name, weights, n)
			}
		}
	}
	s := newTestSnapshot(1, 1, 1)
	if n := testing.AllocsPerRun(1000, func() {
		var tried triedSet
		tried.add(s.backends[0])
		s.untried(s.backends[0], &tried)
	}); n != 0 {
		t.Errorf("untried: %v allocations", n)
	}
}

func TestIdentifyDoesNotAllocate(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies = []string{"10.0.0.0/8", "2001:db8::/32"}
	p := New(o)
	x := &exchange{client: &clientConn{peer: netip.MustParseAddr("10.0.0.1")}}
	x.request.forwarded.add([]byte("203.0.113.9, [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:443, 10.0.0.2:80"))
	if n := testing.AllocsPerRun(1000, func() { p.identify(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if x.addr != netip.MustParseAddr("203.0.113.9") {
		t.Errorf("the client is %s", x.addr)
	}
}
