package message

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestViaNames(t *testing.T) {
	for _, name := range []string{"", "lb", "lb.example.com", "lb.example.com:8080", "edge-1_a~", "192.0.2.1:80", "[2001:db8::1]", "[::1]:65535", strings.Repeat("a", 253) + ":65535"} {
		var v ViaName
		if err := yaml.Unmarshal(fmt.Appendf(nil, "%q", name), &v); err != nil || string(v) != name {
			t.Errorf("%q: got %q, %v", name, v, err)
		}
	}
	for _, name := range []string{" ", "a b", "a, b", "a (b)", "a\r\nb", "a\x00", "ä", ":80", "a:", "a:b", "a:65536", "a:1:2", "a/b", "\"a\"", "[::1", "[]", "[g::1]", "[::1]a", "::1", "]", "a]", "1.1 lb", strings.Repeat("a", 260)} {
		var v ViaName
		if err := yaml.Unmarshal(fmt.Appendf(nil, "%q", name), &v); err == nil || v != "" {
			t.Errorf("%q was accepted as %q", name, v)
		}
	}
	var v ViaName
	if err := yaml.Unmarshal([]byte("[lb]"), &v); err == nil {
		t.Errorf("a list was accepted as %q", v)
	}
}
