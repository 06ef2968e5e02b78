package acme

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		config Config
		faults []string // their paths
	}{
		{Config{Storage: "acme"}, nil},
		{Config{Domains: []string{"example.com", "www.example.com", "xn--bcher-kva.example"}, Email: "a@example.com", Directory: "https://ca.internal:9000/acme/acme/directory", Storage: "postgres"}, nil},
		{Config{Directory: "http://127.0.0.1:14000/dir", Storage: "x"}, nil},
		{Config{Domains: []string{"*.example.com", "192.0.2.1", "bücher.example", "example.com.", "", "a b", "-a.example", "a..b"}, Storage: "x"},
			[]string{"domains[0]", "domains[1]", "domains[2]", "domains[3]", "domains[4]", "domains[5]", "domains[6]", "domains[7]"}},
		{Config{Domains: []string{"example.com", "Example.com"}, Storage: "x"}, []string{"domains[1]"}},
		{Config{Email: "Admin <a@example.com>", Storage: "x"}, []string{"email"}},
		{Config{Email: "admin", Storage: "x"}, []string{"email"}},
		{Config{Directory: "http://ca.example.com/directory", Storage: "x"}, []string{"directory"}},
		{Config{Directory: "ca.example.com", Storage: "x"}, []string{"directory"}},
		{Config{}, []string{"storage"}},
	} {
		var faults []string
		c.config.Validate(func(path string, value any, allowed string) {
			faults = append(faults, path)
			if allowed == "" || strings.HasSuffix(allowed, ".") {
				t.Errorf("%s: %v: allowed is %q", path, value, allowed)
			}
		})
		if !slices.Equal(faults, c.faults) {
			t.Errorf("%s: faults at %q, not %q", fmt.Sprint(c.config), faults, c.faults)
		}
	}
}
