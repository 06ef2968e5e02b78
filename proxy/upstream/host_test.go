package upstream

import (
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for _, text := range []string{"preserve", "backend", "api.example.com", "API.example.com.", "a_b", "a:8080", "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[::1]:8080"} {
		var h Host
		if err := h.UnmarshalText([]byte(text)); err != nil || string(h) != text {
			t.Errorf("%q: got %q, %v", text, h, err)
		}
	}
	for _, text := range []string{"", " ", "a b", "a/b", "a@b", "a:", "a:x", "a:080", "a:65536", "a:1:2", "a..b", ":80", "::1", "[::1", "[a]", "[::1]x", "[fe80::1%25eth0]", "*.a", "a\r\nb", "bücher.example", "http://a", strings.Repeat("a", 64)} {
		var h Host
		if err := h.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q passes as %q", text, h)
		}
	}
}
