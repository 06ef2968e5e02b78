package main

import (
	"slices"
	"strings"
	"testing"

	"loadbalancer/docs/described"
)

// isGotHere tells which of the responses in docs/swagger.yaml the tests of this package have to get.
// The clients' own calls are in the care of package clients.
func isGotHere(o *described.Operation, status string) bool {
	switch o.Method + " " + o.Path + " " + status {
	case "POST /clients/{client}/reset 400": // of a body cut short alone, and client sends none
		return false
	}
	return slices.Contains([]string{"backends", "config", "description"}, o.Tag) || slices.Contains([]string{"400", "401", "403", "413", "429"}, status)
}

// TestEveryCallRefuses makes every call that the description has, in the wrong ways that all have
// alike. The recorder holds the responses to the description.
func TestEveryCallRefuses(t *testing.T) {
	tokens := apiOnBoth + "  tokens: [{name: w, role: write, token: write-write-write-write}, {name: r, role: read, token: read-read-read-read}]\n"
	guarded := startInstance(t, testConfig(t, freeAddresses(t, 1), tokens), "--demo")
	open := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--demo")
	const write, read, wrong = "Authorization: Bearer write-write-write-write", "Authorization: Bearer read-read-read-read", "Authorization: Bearer wrong"
	for i, base := range guarded.listeners() {
		for _, o := range apiCalls.Operations() {
			isOpen := o.Tag == "description" && base == guarded.management
			refuses := func(status int, what, base, query, body string, fields ...string) {
				t.Helper()
				if a := call(t, o.Method, base+o.Target()+query, body, fields...); a.status != status {
					t.Errorf("%s %s%s of %s: got %+v, want %d", o.Method, base, o.Target(), what, a, status)
				}
			}
			refuses(422, "an unknown parameter", base, "?nothing=1", "", write)
			if slices.Contains(o.Statuses, "400") && !strings.HasSuffix(o.Path, "/reset") {
				refuses(400, "half a body", base, "", "{", write)
			}
			if slices.Contains(o.Statuses, "413") {
				refuses(413, "a long body", base, "", strings.Repeat(" ", 1<<20+1), write)
			}
			if isOpen {
				continue
			}
			refuses(401, "a caller without a token", base, "", "")
			refuses(403, "a caller from elsewhere", open.listeners()[i], "", "", "Via: 1.1 a")
			if o.Method != "GET" && o.Path != "/explain" {
				refuses(403, "a reader", base, "", "", read)
			}
			for status := 401; status == 401; {
				status = call(t, o.Method, base+o.Target(), "", wrong).status
				if status != 401 && status != 429 {
					t.Errorf("%s %s: a wrong token got %d", o.Method, o.Target(), status)
				}
			}
		}
	}
}
