package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestPageSearches finds more clients than it shows, which it says, and the range that holds an address.
func TestPageSearches(t *testing.T) {
	_, addresses := pageBackends(t)
	in := startInstance(t, testConfig(t, addresses))
	var lines strings.Builder
	for i := range 51 {
		fmt.Fprintf(&lines, `{"ip_address":"192.0.2.%d","blocked":true}`+"\n", i)
	}
	lines.WriteString(`{"ip_address":"198.51.100.0/24","blocked":true}`)
	if a := call(t, "POST", in.management+"/v1/api/import/clients", lines.String(), "Content-Type: application/x-ndjson"); !strings.Contains(a.body, `"created":52`) {
		t.Fatalf("the import got %d %s", a.status, a.body)
	}
	b := openPage(t, in.management)
	search := func(text, outcome string, rows ...string) {
		t.Helper()
		b.find(text)
		b.shows(outcome)
		for _, row := range rows {
			b.await(rowOf(row) + "?.checkVisibility()")
		}
	}
	search("192.0.2.", "The first 50 are shown; there are more", "192.0.2.0", "192.0.2.49")
	if got := b.eval("!!" + rowOf("192.0.2.50")); got != "false" {
		t.Error("the 51st is shown")
	}
	search(" 198.51.100.7 ", "1 found", "198.51.100.0/24")
	search("a&limit=1", "0 found")
	search("192.0.2.5", "2 found", "192.0.2.5", "192.0.2.50")
	b.requireNoFaults()
}
