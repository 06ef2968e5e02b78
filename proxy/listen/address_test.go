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

func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", ":80", true},
		{"[::1]:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", "localhost:80", true},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"[::1]:80", "[0:0::1]:80", true},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"unix:/a", "unix:/b/../a", true},
		{"unix:" + absolute("a"), "unix:a", true},
		{"unix:@a", "unix:a", false},
		{"unix:/a", ":80", false},
		{"", ":80", false},
		{"", "", false},
	} {
		a, _ := ParseAddress(test.a)
		b, _ := ParseAddress(test.b)
		if a.Overlaps(b) != test.want || b.Overlaps(a) != test.want {
			t.Errorf("%q and %q: want %v", test.a, test.b, test.want)
		}
	}
}
