package management

import (
	"net/netip"
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
