package main

import (
	"strings"
	"testing"

	"loadbalancer/proxy/certtest"
)

// The README's commands do what it says, one after the other.
func TestReadme(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "limiter:\n  api_key_header: X-API-Key\n"), "--demo")
	ran := 0
	for _, b := range blocksOf(t, "README.md") {
		if b.language == "yaml" {
			if _, err := parseConfig("README.md", []byte(wholeConfig(t, b.lines)), environment(nil)); err != nil {
				t.Error(err)
			}
		}
		if b.language != "sh" {
			continue
		}
		for _, line := range b.lines {
			switch {
			case strings.HasPrefix(line, "curl "):
				a := in.curl(t, line)
				ran++
				if !strings.Contains(line, "/v1/api/") && a.status != 200 {
					t.Errorf("%s: got %+v", line, a)
				}
				if strings.HasSuffix(line, "/usage") && !strings.Contains(a.body, `"allowed":1,`) {
					t.Errorf("the request with the key was not counted: %s", a.body)
				}
			case strings.HasPrefix(line, "go run ./bench --"): // in place of the load
				for range 150 {
					if a := call(t, "GET", in.proxy+"/", ""); a.status != 200 {
						t.Fatalf("under the raised limit, got %+v", a)
					}
				}
				fallthrough
			case strings.HasPrefix(line, "go run "):
				requireCommand(t, "README.md", strings.Fields(line))
			}
		}
	}
	if ran < 13 {
		t.Errorf("the README has lost commands: %d are left", ran)
	}
}

// wholeConfig returns a config that a page shows a part of, with the smallest pool unless it has one,
// and with a certificate that exists.
func wholeConfig(t *testing.T, lines []string) string {
	t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	if !strings.Contains(text, "pools:") {
		text += smallest
	}
	if strings.Contains(text, "cert.pem") {
		cert, key := certtest.Write(t, certtest.NewAuthority(t).Issue([]string{"www.example.com"}), t.TempDir(), "own")
		authorities := certtest.NewAuthority(t).Write(t.TempDir(), "ca.pem")
		text = strings.NewReplacer("cert.pem", cert, "key.pem", key, "authorities.pem", authorities).Replace(text)
	}
	return text
}
