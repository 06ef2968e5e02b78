package limiter

import (
	"net/netip"
	"testing"
)

// However often a client is deleted and created again, it gets no more than its bucket and what
// refills it.
func TestDeletionRefillsNothing(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), client("2001:db8::/48"), {Name: "acme"}} {
		addr := "192.0.2.1"
		if id.Prefix.Addr().Is6() {
			addr = "2001:db8::1"
		}
		l := newLimiter()
		terms := Terms{Limit: Limit{1000, 10}}
		got := 0
		for i := range int64(200) { // 20 s in all
			now := t0 + i*100e6
			l.grant(id, terms, now)
			for l.take(l.by(addr, "the key of acme"), now).Allowed {
				got++
			}
			l.delete(id, now)
		}
		if want := 1000 + 199; got != want {
			t.Errorf("%s: %d tokens in 200 lives, want %d", id, got, want)
		}
	}
}

func TestFirstRegistrationRefillsNothing(t *testing.T) {
	l := newLimiter() // 10 tokens, one a second
	l.takeAll("192.0.2.1", t0)
	l.grant(client("192.0.2.1"), Terms{Limit: Limit{15, 1}}, t0)
	if n, _ := l.takeAll("192.0.2.1", t0); n != 5 {
		t.Errorf("%d tokens, want 15 less those that the address has had", n)
	}
	l.grant(client("198.51.100.1"), Terms{Limit: Limit{15, 1}}, t0)
	if n, _ := l.takeAll("198.51.100.1", t0); n != 15 {
		t.Errorf("%d tokens of an address without debt, want 15", n)
	}
}

// A place in the table that a registered address held would be missing for an unregistered one.
func TestRegistrationTakesNoPlace(t *testing.T) {
	l := newLimiter() // 10 tokens, one a second
	id := client("192.0.2.0/24")
	l.grant(id, Terms{Limit: Limit{7, 0.001}}, t0)
	l.takeAll("192.0.2.1", t0)
	l.delete(id, t0)
	l.grant(client("192.0.2.2"), Terms{Limit: Limit{10, 1}}, t0)
	if n := l.Tracked(); n != 0 {
		t.Errorf("%d tracked after a registration, want none", n)
	}
	if n, _ := l.takeAll("192.0.2.2", t0); n != 3 {
		t.Errorf("%d tokens for an address of a deleted range, want 10 less 7", n)
	}
}

// The addresses of a deleted range pay for what it has spent, each for itself, until that is
// refilled.
func TestDeletedRangeLeavesItsDebt(t *testing.T) {
	l := newLimiter() // 10 tokens, one a second
	id := client("192.0.0.0/16")
	l.grant(id, Terms{Limit: Limit{7, 0.001}}, t0)
	l.takeAll("192.0.2.1", t0)
	l.delete(id, t0)
	for _, addr := range []string{"192.0.2.1", "192.0.2.2"} {
		if n, _ := l.takeAll(addr, t0); n != 3 {
			t.Errorf("%d tokens for %s, want the default's 10 less 7", n, addr)
		}
	}
	if n, _ := l.takeAll("192.1.0.0", t0); n != 10 {
		t.Errorf("%d tokens outside of the range, want 10", n)
	}
	if n, _ := l.takeAll("192.0.2.3", t0+5e9); n != 8 {
		t.Errorf("%d tokens after 5 s, want 8", n)
	}
	if n, _ := l.takeAll("192.0.2.4", t0+7e9); n != 10 {
		t.Errorf("%d tokens once the debt is paid, want 10", n)
	}
	if n, _ := l.takeAll("192.0.2.1", t0+8e9); n != 8 {
		t.Errorf("%d tokens of an address that was empty 8 s ago, want 8", n)
	}
}

// Where deleted ranges overlap the larger debt counts, whichever was deleted first.
func TestFloorsOverlap(t *testing.T) {
	p := netip.MustParsePrefix
	type one struct {
		p     string
		floor int64
	}
	for _, order := range [][]one{
		{{"10.0.0.0/8", 30}, {"10.1.0.0/16", 20}, {"10.1.1.0/24", 40}},
		{{"10.1.1.0/24", 40}, {"10.1.0.0/16", 20}, {"10.0.0.0/8", 30}},
		{{"10.1.0.0/16", 20}, {"10.1.1.0/24", 40}, {"10.0.0.0/8", 30}, {"10.0.0.0/8", 10}},
	} {
		var f *floors
		for _, o := range order {
			f = f.with(p(o.p), o.floor, 5)
		}
		for addr, want := range map[string]int64{"10.2.0.1": 30, "10.1.2.1": 30, "10.1.1.1": 40} {
			if got, _ := f.ranges.Lookup(netip.MustParseAddr(addr)); got != want {
				t.Errorf("%v: %s has %d, want %d", order, addr, got, want)
			}
		}
		if f.last != 40 {
			t.Errorf("%v: the last passes at %d, want 40", order, f.last)
		}
		if f = f.with(p("10.9.0.0/16"), 50, 40); f.ranges.Size() != 1 {
			t.Errorf("%d floors after all others have passed, want 1", f.ranges.Size())
		}
	}
}

func TestDebtsThatArePaidAreForgotten(t *testing.T) {
	l := newLimiter()
	for i := range 10 * leastSweep {
		now := t0 + int64(i)*1e9
		id := ID{Prefix: netip.PrefixFrom(ipv4(i), 32)}
		l.grant(id, Terms{Limit: Limit{10, 1}}, now)
		l.take(l.Identify(ipv4(i), nil), now)
		l.delete(id, now)
	}
	if n := len(l.debts.byID); n > leastSweep+1 {
		t.Errorf("%d clients remembered, of which one is in debt", n)
	}
}

func TestFloorsThatHavePassedAreForgotten(t *testing.T) {
	l := newLimiter()
	for i := range 10 * leastSweep {
		now := t0 + int64(i)*1e9
		id := ID{Prefix: netip.PrefixFrom(ipv4(i*256), 24)}
		l.grant(id, Terms{Limit: Limit{10, 1}}, now)
		for range 3 {
			l.take(l.Identify(ipv4(i*256), nil), now)
		}
		l.delete(id, now)
	}
	if n := l.anonymous.Load().floors.Load().ranges.Size(); n > leastSweep+3 {
		t.Errorf("%d ranges remembered, of which three are in debt", n)
	}
}
