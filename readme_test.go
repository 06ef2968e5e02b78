package main

import (
	"strings"
	"testing"
)

// The README's commands do what it says, one after the other.
func TestReadme(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "limiter:\n  api_key_header: X-API-Key\n"), "--demo")
	ran := 0
	for _, b := range blocksOf(t, "README.md") {
		if b.language == "yaml" {
			if _, err := parseConfig("README.md", []byte(strings.Join(b.lines, "\n")), environment(nil)); err != nil {
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
