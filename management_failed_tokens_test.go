package main

import (
	"fmt"
	"strings"
	"testing"
)

// failUntilRefused sends wrong tokens until one is refused for there being too many, and returns
// how many were not.
func failUntilRefused(t *testing.T, url string, fields ...string) (before int) {
	t.Helper()
	for ; before < 1000; before++ {
		a := call(t, "GET", url, "", append(fields, "Authorization: Bearer wrong")...)
		if a.status == 429 {
			requireProblem(t, "a wrong token", a, 429)
			if a.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
			return before
		}
		requireProblem(t, "a wrong token", a, 401)
	}
	t.Fatal("1000 wrong tokens, and none was refused")
	return
}

// Past 10 wrong tokens in a second, an address gets 429 for more of them. A trusted proxy tells
// which address that is. Calls with the right token, and calls with none, are answered as ever.
func TestTooManyWrongTokens(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1), apiOnBoth+"  token: s3cret\n",
		"server:\n  listen: 127.0.0.1:0\n  trusted_proxies: [127.0.0.1]\n"), "--demo")
	for i, base := range in.listeners() {
		url := base + "/v1/api/clients/"
		from := func(host int) string { return fmt.Sprintf("X-Forwarded-For: 192.0.2.99, 192.0.2.%d", 10*i+host) }
		for range 50 {
			requireProblem(t, "no token", call(t, "GET", url, "", from(1)), 401)
			requireProblem(t, "another scheme", call(t, "GET", url, "", from(1), "Authorization: Basic wrong"), 401)
			requireProblem(t, "two tokens", call(t, "GET", url, "", from(1), "Authorization: Bearer wrong", "Authorization: Bearer wrong"), 401)
		}
		if before := failUntilRefused(t, url, from(1)); before < 10 {
			t.Errorf("%d wrong tokens were answered 401, want %d at least", before, 10)
		}
		requireProblem(t, "another client", call(t, "GET", url, "", from(2), "Authorization: Bearer wrong"), 401)
		failUntilRefused(t, url, from(1))
		if a := call(t, "GET", url, "", from(1), "Authorization: Bearer s3cret"); a.status != 200 {
			t.Errorf("the right token: got %+v", a)
		}
		requireProblem(t, "no token", call(t, "GET", url, "", from(1)), 401)
	}
	const message = "calls of the API were refused for too many wrong tokens; the address is the last one's"
	line := in.log.find(message)
	if line == nil || line["address"] != "192.0.2.1" || line["calls"] != 1.0 || line["level"] != "warn" {
		t.Errorf("the log has %v", line)
	}
	waitFor(t, "a line of the other address, or of all refusals", func() bool { return strings.Contains(in.log.String(), `"address":"192.0.2.11"`) })
	if strings.Contains(in.log.String(), "wrong\"") || strings.Contains(in.log.String(), "s3cret") {
		t.Errorf("the log shows a token:\n%s", in.log)
	}
}
