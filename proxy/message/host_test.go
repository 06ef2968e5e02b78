package message

import "testing"

func TestIsHost(t *testing.T) {
	for _, host := range []string{"", ":", ":80", "a", "a:", "a:00080", "xn--4ca", "a%20b", "[::]", "[1:2:3:4:5:6:7:8]:1"} {
		if !isHost([]byte(host)) {
			t.Errorf("isHost(%q) = false", host)
		}
	}
	for _, host := range []string{"a:000080", "[", "[]", "[a", "[:]", "]", "[::1]]", "[::1]80", "a]", "[::1%25eth0]", "a\tb", "a:b:c"} {
		if isHost([]byte(host)) {
			t.Errorf("isHost(%q) = true", host)
		}
	}
}
