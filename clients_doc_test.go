package main

import (
	"strings"
	"testing"
)

const clientsDoc = "docs/clients.md"

// The page's commands do what it says, one after the other and from its first to its last.
func TestClientsPage(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "limiter:\n  api_key_header: X-API-Key\n"), "--demo")
	var last answer
	ran, shown := 0, 0
	for _, b := range blocksOf(t, clientsDoc) {
		text := strings.Join(b.lines, "\n")
		switch b.language {
		case "sh":
			for _, line := range b.lines {
				if !strings.HasPrefix(line, "curl ") {
					t.Errorf("the page has the command %s", line)
					continue
				}
				last = in.curl(t, line)
				ran++
			}
		case "csv":
			in.file = text + "\n"
		case "http":
			requireHTTP(t, last, text)
			shown++
		case "json":
			requireJSON(t, last.body, text)
			shown++
		}
	}
	if ran < 30 || shown < 7 {
		t.Errorf("%s has lost commands or answers: %d and %d are left", clientsDoc, ran, shown)
	}
}
