package limiter

import (
	"net/netip"
	"reflect"
	"testing"
)

// Clients that are registered are found by the address that they come from, translated or not.
func TestRegisteredBehindATranslator(t *testing.T) {
	l := newLimiter()
	l.registerNow(netip.MustParsePrefix("192.0.2.1/32"), Limit{1, 1})
	l.registerNow(netip.MustParsePrefix("64:ff9b::198.51.100.1/128"), Limit{2, 1})
	l.registerNow(netip.MustParsePrefix("64:ff9b::198.51.100.0/120"), Limit{3, 1})
	for addr, want := range map[string]int64{
		"192.0.2.1": 1, "64:ff9b::192.0.2.1": 10,
		"64:ff9b::198.51.100.1": 2, "198.51.100.1": 10,
		"64:ff9b::198.51.100.2": 3, "198.51.100.2": 10,
	} {
		if got := l.take(l.by(addr, ""), t0).Capacity; got != want {
			t.Errorf("%s: capacity %d, want %d", addr, got, want)
		}
	}
}

// What a client has spent behind a translator is spent when its IPv4 address is registered or
// deleted, and the other way round.
func TestSpentBehindATranslator(t *testing.T) {
	for _, ways := range [][2]string{
		{"192.0.2.1", "64:ff9b::192.0.2.1"}, {"64:ff9b::192.0.2.1", "192.0.2.1"}, {"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.1"},
	} {
		l := newLimiter() // 10 tokens
		l.takeAll(ways[0], t0)
		l.grant(client(ways[1]), Terms{Limit: Limit{15, 1}}, t0)
		if n, _ := l.takeAll(ways[1], t0); n != 5 {
			t.Errorf("%s, then %s registered: %d tokens, want 15 less 10", ways[0], ways[1], n)
		}
		l = newLimiter()
		l.grant(client(ways[0]), Terms{Limit: Limit{7, 0.001}}, t0)
		l.takeAll(ways[0], t0)
		l.delete(client(ways[0]), t0)
		if n, _ := l.takeAll(ways[1], t0); n != 3 {
			t.Errorf("%s deleted, then %s: %d tokens, want 10 less 7", ways[0], ways[1], n)
		}
	}
	for _, within := range []string{"192.0.2.0/24", "64:ff9b::/96"} {
		l := newLimiter()
		l.grant(client(within), Terms{Limit: Limit{7, 0.001}}, t0)
		l.takeAll("192.0.2.9", t0)
		l.takeAll("64:ff9b::192.0.2.9", t0)
		l.delete(client(within), t0)
		if n, _ := l.takeAll("64:ff9b::192.0.2.1", t0); n != 3 {
			t.Errorf("%s deleted: %d tokens behind the translator, want 10 less 7", within, n)
		}
	}
}

func TestLimitedBehindATranslator(t *testing.T) {
	l := newLimiter()
	for range 12 {
		l.take(l.by("64:ff9b::192.0.2.1", ""), t0)
		l.take(l.by("192.0.2.1", ""), t0)
	}
	if got, want := l.limited(10, t0), []Limited{{Client: "192.0.2.1", Rejections: 14, Limit: Limit{10, 1}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if l.Tracked() != 1 {
		t.Errorf("%d clients tracked, want 1", l.Tracked())
	}
}
