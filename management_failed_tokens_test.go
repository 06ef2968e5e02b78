package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestFailedTokens(t *testing.T) {
	var f failedTokens
	now := time.Unix(1_000_000, 0)
	fail := func(address string, times int) (tooMany int) {
		for range times {
			if f.add(now, netip.MustParseAddr(address)) {
				tooMany++
			}
		}
		return tooMany
	}
	if got := fail("192.0.2.1", 25); got != 15 {
		t.Errorf("%d of 25 were too many, want 15", got)
	}
	if got := fail("192.0.2.2", 10); got != 0 {
		t.Errorf("another address: %d of 10 were too many", got)
	}
	if got := fail("2001:db8::1", 6) + fail("2001:db8::ffff:0:0:1", 6); got != 2 {
		t.Errorf("%d of 12 of an IPv6 /64 were too many, want 2", got)
	}
	if got := fail("2001:db8:0:1::1", 10); got != 0 {
		t.Errorf("another /64: %d of 10 were too many", got)
	}
	now = now.Add(time.Second - 1)
	if got := fail("192.0.2.1", 1); got != 1 {
		t.Error("the second has not ended, but the count has")
	}
	now = now.Add(1)
	if got := fail("192.0.2.1", 10); got != 0 {
		t.Errorf("in the next second %d of 10 were too many", got)
	}
}

// However many addresses there are, the table is bounded: those that find no place share one count.
func TestFailedTokensOfManyAddresses(t *testing.T) {
	var f failedTokens
	now, address := time.Unix(1_000_000, 0), netip.MustParseAddr("10.0.0.0")
	tooMany := 0
	for range maxFailing + 100 {
		if address = address.Next(); f.add(now, address) {
			tooMany++
		}
	}
	if tooMany != 90 || len(f.counts) != maxFailing {
		t.Errorf("%d were too many and %d addresses are held, want 90 and %d", tooMany, len(f.counts), maxFailing)
	}
	if f.add(now, netip.MustParseAddr("10.0.0.1")) {
		t.Error("an address with a count of its own has the others'")
	}
	if now = now.Add(time.Second); f.add(now, address) || len(f.counts) != 1 {
		t.Errorf("the next second holds %d addresses", len(f.counts))
	}
}

func TestLinesOfRefusals(t *testing.T) {
	var f failedTokens
	start := time.Unix(1_000_000, 0)
	lines, calls, refused := 0, 0, 0
	for ms := range 5000 { // a wrong token each millisecond
		now := start.Add(time.Duration(ms) * time.Millisecond)
		if f.add(now, netip.MustParseAddr("192.0.2.1")) {
			refused++
		}
		if r := f.due(now); r.calls > 0 {
			lines, calls = lines+1, calls+r.calls
			if r.address != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("a line tells of %s", r.address)
			}
		}
	}
	if r := f.due(start.Add(7 * time.Second)); r.calls > 0 {
		lines, calls = lines+1, calls+r.calls
	}
	if lines > 6 || lines < 5 || calls != refused || refused != 5*990 {
		t.Errorf("%d lines tell of %d calls, and %d were refused", lines, calls, refused)
	}
	if r := f.due(start.Add(time.Hour)); r.calls != 0 {
		t.Errorf("a line tells of %d calls again", r.calls)
	}
}

// failUntilRefused sends wrong tokens until one is refused for there being too many, and returns how
// many were not.
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

// Past 10 wrong tokens in a second, an address gets 429 for more of them. Who the address is, a trusted
// proxy tells. Calls with the right token, and calls with none, are what they always are.
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
		if before := failUntilRefused(t, url, from(1)); before < maxFailedTokens {
			t.Errorf("%d wrong tokens were answered 401, want %d at least", before, maxFailedTokens)
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
