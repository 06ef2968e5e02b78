package upstream

import (
	"net/netip"
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
		"http://a":                      {"tcp", "a:80", "a"},
		"http://a:8100":                 {"tcp", "a:8100", "a:8100"},
		"http://a:8100/":                {"tcp", "a:8100", "a:8100"},
		"HTTP://127.0.0.1:1":            {"tcp", "127.0.0.1:1", "127.0.0.1:1"},
		"http://[::1]":                  {"tcp", "[::1]:80", "[::1]"},
		"http://[::1]:65535":            {"tcp", "[::1]:65535", "[::1]:65535"},
		"https://a":                     {"tcp", "a:443", "a"},
		"https://a:8443/":               {"tcp", "a:8443", "a:8443"},
		"HTTPS://[::1]":                 {"tcp", "[::1]:443", "[::1]"},
		"unix:/run/backend.soc":         {"unix", "/run/backend.soc", "localhost"},
		"srv://_http._tcp.API.internal": {"tcp", "_http._tcp.api.internal", "api.internal"},
		"srv://api.service.consul.":     {"tcp", "api.service.consul.", "api.service.consul"},
		"srv://_http":                   {"tcp", "_http", "_http"},
	} {
		u, err := ParseURL(url)
		if got := [3]string{u.Network(), u.Address(), u.host}; err != nil || got != want || u.String() != strings.TrimSuffix(url, "/") || u.IsZero() {
			t.Errorf("%s: got %q, %v", url, got, err)
		}
	}
	for _, url := range []string{
		"a", "a:80", "127.0.0.1:80", "//a:80", "https://", "https://:443", "https://a:0", "https://a/p", "https://u@a", "https://127.1", "https+srv://a", "ftp://a", "http://", "http:///p", "http://:80", "http://a:0", "http://a:65536",
		"http://a:b", "http://a:080", "http://a/p", "http://a?q", "http://a#f", "http://u@a", "http://u:p@a", "http://a b", "http://::1", "http:a", "unix:", "unix:a",
		"srv://", "srv://a:80", "srv://a:", "srv://127.0.0.1", "srv://[::1]", "srv://a/p", "srv://a..b", "srv:a",
	} {
		got, err := ParseURL(url)
		if err == nil || !got.IsZero() || !strings.Contains(err.Error(), "http://host:port, https://host:port, h2c://host:port, srv://name or unix:/path") {
			t.Errorf("%q: got %+v, %v", url, got, err)
		}
	}
	if got, err := ParseURL(""); err != nil || !got.IsZero() {
		t.Errorf("an empty URL: got %+v, %v", got, err)
	}
}

// TestLookups: which URLs have a name to look up, what becomes of it, and which name the certificate is for.
func TestLookups(t *testing.T) {
	for url, want := range map[string]question{
		"http://127.0.0.1:8100":     {},
		"http://[::1]":              {},
		"unix:/run/a":               {},
		"http://localhost:8100":     {},
		"http://LocalHost.":         {},
		"http://a.localhost":        {},
		"http://API.internal:8080":  {name: "api.internal"},
		"http://api.internal.":      {name: "api.internal."},
		"http://localhost.internal": {name: "localhost.internal"},
		"srv://_http._tcp.API":      {name: "_http._tcp.api", service: true},
		"srv://localhost":           {name: "localhost", service: true},
	} {
		if got := mustURL(url).lookup; got != want {
			t.Errorf("%s: got %+v, want %+v", url, got, want)
		}
	}
	for url, want := range map[string]string{
		"http://a": "", "https://A.internal.:8443": "a.internal", "https://127.0.0.1": "127.0.0.1", "https://[FE80::1%25eth0]": "fe80::1", "unix:/a": "", "srv://a": "",
	} {
		if u := mustURL(url); u.subject != want || u.IsSecure() != (want != "") {
			t.Errorf("%s: the certificate is for %q, want %q", url, u.subject, want)
		}
	}
	secure := mustURL("https://api.internal").at(netip.MustParseAddrPort("[2001:db8::1]:443"))
	if got := [4]string{secure.text, secure.name(), secure.host, secure.subject}; got != [4]string{"https://[2001:db8::1]:443", "https://[2001:db8::1]:443", "api.internal", "api.internal"} {
		t.Errorf("got %q", got)
	}
	u := mustURL("http://api.internal:8080/").at(netip.MustParseAddrPort("[2001:db8::1]:8080"))
	if got := [4]string{u.text, u.address, u.host, u.from}; got != [4]string{"http://[2001:db8::1]:8080", "[2001:db8::1]:8080", "api.internal:8080", "http://api.internal:8080"} {
		t.Errorf("got %q", got)
	}
}
