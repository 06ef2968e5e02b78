package listen

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, text := range []string{"", ":8080", "127.0.0.1:0", "[::1]:65535", "localhost:80", "unix:/run/lb.sock", "unix:lb.sock"} {
		if a, err := ParseAddress(text); err != nil || a.String() != text || a.IsZero() != (text == "") {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"8080", "127.0.0.1", "127.0.0.1:", ":http", ":65536", ":08080", ":00", ":-1", "::1:80", "unix:", "http://a:80"} {
		if a, err := ParseAddress(text); err == nil || !strings.Contains(err.Error(), "host:port, such as") || !a.IsZero() {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
}
