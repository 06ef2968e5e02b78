package upstream

import (
	"strings"
	"testing"
)

// mustURL parses a backend's URL.
func mustURL(text string) URL {
	u, err := ParseURL(text)
	if err != nil {
		panic(err)
	}
	return u
}

func TestParseURL(t *testing.T) {
	for url, want := range map[string][3]string{
		"http://a":              {"tcp", "a:80", "a"},
		"http://a:8100":         {"tcp", "a:8100", "a:8100"},
		"http://a:8100/":        {"tcp", "a:8100", "a:8100"},
		"HTTP://127.0.0.1:1":    {"tcp", "127.0.0.1:1", "127.0.0.1:1"},
		"http://[::1]":          {"tcp", "[::1]:80", "[::1]"},
		"http://[::1]:65535":    {"tcp", "[::1]:65535", "[::1]:65535"},
		"unix:/run/backend.soc": {"unix", "/run/backend.soc", "localhost"},
	} {
		u, err := ParseURL(url)
		if got := [3]string{u.Network(), u.Address(), u.host}; err != nil || got != want || u.String() != url || u.IsZero() {
			t.Errorf("%s: got %q, %v", url, got, err)
		}
	}
	for _, url := range []string{
		"a", "a:80", "127.0.0.1:80", "//a:80", "https://a", "ftp://a", "http://", "http:///p", "http://:80", "http://a:0", "http://a:65536",
		"http://a:b", "http://a:080", "http://a/p", "http://a?q", "http://a#f", "http://u@a", "http://u:p@a", "http://a b", "http://::1", "http:a", "unix:", "unix:a",
	} {
		got, err := ParseURL(url)
		if err == nil || !got.IsZero() || !strings.Contains(err.Error(), "http://host:port or unix:/path") {
			t.Errorf("%q: got %+v, %v", url, got, err)
		}
	}
	if got, err := ParseURL(""); err != nil || !got.IsZero() {
		t.Errorf("an empty URL: got %+v, %v", got, err)
	}
}
