package limiter

import (
	"net/netip"
	"testing"
	"time"
)

func TestRequestsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	cfg := DefaultConfig()
	cfg.Headers = "both"
	l := New(cfg)
	l.registerNow(netip.MustParsePrefix("192.0.2.1/32"), Limit{Capacity: 10, RatePerSecond: 1})
	l.registerNow(netip.MustParsePrefix("198.51.100.0/24"), Limit{Capacity: 10, RatePerSecond: 1})
	buf := make([]byte, 0, 256)
	for _, text := range []string{"192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1%eth0", "::ffff:192.0.2.1"} {
		addr, now := netip.MustParseAddr(text), time.Now()
		n := testing.AllocsPerRun(1000, func() {
			buf = l.Fields().Append(buf[:0], l.ask(l.Identify(addr, nil), now))
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per request, want 0", text, n)
		}
	}
}
