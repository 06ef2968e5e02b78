package message

import "testing"

func TestAdmits(t *testing.T) {
	for _, test := range []struct {
		name, authority string
		want            bool
	}{
		{"a.example", "a.example", true},
		{"a.example", "A.Example:8443", true},
		{"a.example", "a.example.", true},
		{"a.example", "a.example.:443", true},
		{"a.example", "a.example:", true},
		{"a.example", "", true}, // names nothing
		{"a.example", "b.example", false},
		{"a.example", "aa.example", false},
		{"a.example", "a.example..", false},
		{"a.example", "%61.example", false},
		{"a.example", ".a.example", false},
		{"a.example", "192.0.2.1", false},
		{"a.example", "[2001:db8::1]", false},
		{"a.example", ":443", false},
		{"", "", true},
		{"", "192.0.2.1", true},
		{"", "192.0.2.1:8443", true},
		{"", "[2001:db8::1]", true},
		{"", "[2001:db8::1]:8443", true},
		{"", "a.example", false},
		{"", "192.0.2.256", false},
		{"", "192.0.2", false},
		{"", "192.0.2.1.5", false},
		{"", "192.0.2.0001", false},
		{"", "192.0..1", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"k.example", "\u212a.example", false}, // the sign of Kelvin is no k
	} {
		s := Security{ServerName: test.name, Verified: true}
		if got := s.admits([]byte(test.authority)); got != test.want {
			t.Errorf("%q after a handshake for %q: %v, want %v", test.authority, test.name, got, test.want)
		}
		if s.Verified = false; s.admits([]byte(test.authority)) {
			t.Errorf("%q after a handshake for %q is admitted without a certificate", test.authority, test.name)
		}
	}
}
