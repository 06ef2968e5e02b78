package proxy

import (
	"net/netip"
	"testing"
)

// FuzzForwardedAddr compares the reader of X-Forwarded-For with netip's: it accepts
// nothing that is no address once port and brackets are off.
func FuzzForwardedAddr(f *testing.F) {
	for _, addr := range []string{"192.0.2.1", "192.0.2.1:80", "[::1]:80", "::ffff:192.0.2.1", "fe80::1%eth0", "[", "[]", ":", "a"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseForwardedAddr([]byte(text))
		if !ok {
			if _, err := netip.ParseAddr(text); err == nil && len(text) <= 60 {
				t.Errorf("%q is an address", text)
			}
			return
		}
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Errorf("%q: %v is not in its plain form", text, got)
		}
	})
}
