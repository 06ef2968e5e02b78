package proxy

import (
	"net/netip"
	"testing"
)

func TestPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3": "10.1.2.3/32", "10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::1/32": "2001:db8::/32",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0",
	} {
		var p Prefix
		if err := p.UnmarshalText([]byte(text)); err != nil || p.Prefix != netip.MustParsePrefix(want) {
			t.Errorf("%s: got %s, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"/", "a", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "10.0.0.0/8/8", "fe80::1%eth0/64", "10.0.0.1:80"} {
		p := prefixes("10.0.0.1")[0]
		if err := p.UnmarshalText([]byte(text)); err == nil || err.Error() != allowedPrefix {
			t.Errorf("%q: got %s, %v", text, p, err)
		}
	}
	p := prefixes("10.0.0.1")[0]
	if err := p.UnmarshalText(nil); err != nil || p != (Prefix{}) {
		t.Errorf("an empty text: got %s, %v", p, err)
	}
}
