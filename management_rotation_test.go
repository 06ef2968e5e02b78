package main

import "testing"

// TestTokenRotation replaces a token by two reloads, as operations.md says, without a moment in
// which neither is valid.
func TestTokenRotation(t *testing.T) {
	const first, second = "a-first-token-of-24-chars", "a-second-token-of-25-chars"
	const one, other = "{name: one, role: write, token: " + first + "}", "{name: other, role: write, token: " + second + "}"
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), "management:\n  listen: 127.0.0.1:0\n  tokens: ["+one+"]\n"))
	reload := func(by, before, after string) {
		t.Helper()
		in.edit(t, before, after)
		if a := call(t, "POST", in.management+"/v1/api/reload", "", "Authorization: Bearer "+by); a.status != 200 {
			t.Fatalf("the reload got %+v", a)
		}
	}
	require := func(what string, ofFirst, ofSecond int) {
		t.Helper()
		for token, want := range map[string]int{first: ofFirst, second: ofSecond} {
			if a := call(t, "GET", in.management+"/v1/api/clients/", "", "Authorization: Bearer "+token); a.status != want {
				t.Errorf("%s, %s gets %d, want %d", what, token, a.status, want)
			}
		}
	}
	require("at first", 200, 401)
	reload(first, one, one+", "+other)
	require("with both", 200, 200)
	reload(second, one+", ", "")
	require("at last", 401, 200)
}
