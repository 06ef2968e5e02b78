package top

import (
	"strings"
	"testing"
)

// What is wrong with a URL is said, without what may be secret.
func TestManagementURL(t *testing.T) {
	for management, want := range map[string]string{
		"http://127.0.0.1:8081": "", "https://lb.example/": "", "unix:/run/lb.sock": "", "http://[::1]:8081": "", "HTTP://lb.example": "",

		"":                                   "--management= is invalid: use http://host:port, https://host:port or unix:/path",
		"unix:":                              "--management=unix: is invalid: use ",
		"http://":                            "--management=http:// is invalid: use ",
		"ftp://lb.example":                   "--management=ftp://lb.example is invalid: use ",
		"http://::1:8081":                    "--management=http://::1:8081 is invalid: use ",
		"http://lb.example:8081 ":            "--management=http://lb.example:8081  is invalid: use ",
		"http://lb\x1b[2J":                   "--management=http://lb�[2J is invalid: use ",
		"127.0.0.1:8081":                     "--management=127.0.0.1:8081 is invalid without http:// or https://: use ",
		"localhost":                          "--management=localhost is invalid without http:// or https://: use ",
		":8081":                              "--management=:8081 is invalid without http:// or https://: use ",
		"http://lb.example:0":                "--management=http://lb.example:0 is invalid with a port that is not between 1 and 65535: use ",
		"http://lb.example:99999":            "--management=http://lb.example:99999 is invalid with a port that is not between 1 and 65535: use ",
		"http://lb.example/v1/api":           "--management=http://lb.example/v1/api is invalid with more than a host and a port: use ",
		"http://lb.example?t=secret":         "--management=http://lb.example?… is invalid with more than a host and a port: use ",
		"http://admin:secret@lb.example":     "--management=http://…@lb.example is invalid with a user or a password (the token is taken from LB_TOKEN): use ",
		"http://admin:secr/et@lb.example":    "--management=http://…@lb.example is invalid",
		"admin:secret@lb.example":            "--management=…@lb.example is invalid without http:// or https://: use ",
		"http://secret:80 80@lb.example?a@b": "--management=http://…@b is invalid: use ",
	} {
		_, err := parseAddress(management)
		if got := ""; err != nil {
			if got = err.Error(); want == "" || !strings.HasPrefix(got, want) || strings.Contains(got, "secr") {
				t.Errorf("%q: %s, want %s", management, got, want)
			}
		} else if want != "" {
			t.Errorf("%q is taken, want %s", management, want)
		}
	}
}
