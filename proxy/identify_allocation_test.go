//go:build !race

package proxy

import (
	"net/netip"
	"testing"
)

func TestIdentifyDoesNotAllocate(t *testing.T) {
	o := testOptions("http://127.0.0.1:1")
	o.Server.TrustedProxies = prefixes("10.0.0.0/8", "2001:db8::/32")
	trust, peer := NewTrust(o.Server), netip.MustParseAddr("10.0.0.1")
	told := forwardedFor(t, "203.0.113.9, [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:443, 10.0.0.2:80")
	if n := testing.AllocsPerRun(1000, func() { trust.identify(peer, &told) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := trust.identify(peer, &told).addr; got != netip.MustParseAddr("203.0.113.9") {
		t.Errorf("the client is %s", got)
	}
}
