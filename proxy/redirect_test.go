package proxy

import (
	"net"
	"testing"
)

func TestPlainHost(t *testing.T) {
	for _, test := range []struct {
		authority, want string
	}{
		{"a.example", "a.example"},
		{"A.Example:80", "A.Example"},
		{"a.example.", "a.example."},
		{"a_b.example:8080", "a_b.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a:", "a"},
		{"192.0.2.1:80", "192.0.2.1"},
		{"[2001:db8::1]", "[2001:db8::1]"},
		{"[2001:db8::1]:80", "[2001:db8::1]"},
		{"", ""},
		{":80", ""},
		{".", ""},
		{".a", ""},
		{"a%2eevil.example", ""},
		{"a!b", ""},
		{"a,b", ""},
		{"a;b", ""},
		{"a'b", ""},
		{"a~b", ""},
		{"[::::]", ""},
		{"[1.2.3.4]", ""},
		{"[fe80::1%251]", ""},
	} {
		got, ok := plainHost([]byte(test.authority))
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%q: %q, %v, want %q", test.authority, got, ok, test.want)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, test := range []struct {
		to     net.Addr
		target string
		want   string
	}{
		{&net.TCPAddr{Port: 443}, "/", "https://a/"},
		{&net.TCPAddr{Port: 8443}, "/", "https://a:8443/"},
		{&net.UnixAddr{Name: "/tmp/a", Net: "unix"}, "/", "https://a/"},
		{&net.TCPAddr{Port: 443}, "//evil.example/%2e%2E/x?y=/?z", "https://a//evil.example/%2e%2E/x?y=/?z"},
		{&net.TCPAddr{Port: 443}, `/\evil.example"<>`, `https://a/\evil.example"<>`},
		{&net.TCPAddr{Port: 443}, "*", "https://a"},
	} {
		if got := string(appendLocation(nil, "a", test.to, []byte(test.target))); got != test.want {
			t.Errorf("%s at %s: %q, want %q", test.target, test.to, got, test.want)
		}
	}
}
