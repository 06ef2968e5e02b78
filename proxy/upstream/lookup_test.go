package upstream

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"loadbalancer/bench/zone"
)

// openZone serves DNS until the test ends.
func openZone(t *testing.T) *zone.Zone {
	t.Helper()
	z, err := zone.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	return z
}

// set sets the records of a name.
func set(t *testing.T, z *zone.Zone, name string, records ...string) {
	t.Helper()
	if err := z.Set(name, records...); err != nil {
		t.Fatal(err)
	}
}

func TestUsable(t *testing.T) {
	for _, test := range []struct{ found, routed, want string }{
		{"10.0.0.1 2001:db8::1", "10.0.0.1 2001:db8::1", "10.0.0.1 2001:db8::1"},
		{"10.0.0.1 2001:db8::1", "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1 2001:db8::1", "2001:db8::1", "2001:db8::1"},
		{"10.0.0.1 2001:db8::1", "", "10.0.0.1 2001:db8::1"},
		{"0.0.0.0 10.0.0.1 224.0.0.1 :: ff02::1", "0.0.0.0 10.0.0.1 224.0.0.1", "10.0.0.1"},
		{"0.0.0.0", "0.0.0.0", ""},
	} {
		var found []netip.Addr
		for text := range strings.FieldsSeq(test.found) {
			found = append(found, netip.MustParseAddr(text))
		}
		got := usable(found, func(a netip.Addr) bool { return slices.Contains(strings.Fields(test.routed), a.String()) })
		if fmt.Sprint(got) != "["+test.want+"]" {
			t.Errorf("of %s with routes to %q: got %v, want %s", test.found, test.routed, got, test.want)
		}
	}
	if !hasRoute(netip.MustParseAddr("127.0.0.1")) {
		t.Error("this machine has no route to itself")
	}
}

// inText returns what a look-up has found, one host a line.
func inText(targets []target) string {
	var text strings.Builder
	for _, t := range targets {
		fmt.Fprintf(&text, "%s %s", t.host, t.family)
		if t.port != 0 {
			fmt.Fprintf(&text, " :%d priority %d weight %d", t.port, t.priority, t.weight)
		}
		if t.addresses == nil {
			text.WriteString(" unknown")
		}
		for _, a := range t.addresses {
			text.WriteString(" " + a.String())
		}
		text.WriteString("\n")
	}
	return text.String()
}

// TestAsk asks a DNS server, whose records come in another order each time.
func TestAsk(t *testing.T) {
	z := openZone(t)
	set(t, z, "two.test", "127.0.0.3", "127.0.0.2", "127.0.0.2")
	set(t, z, "six.test", "::1")
	set(t, z, "nowhere.test")
	set(t, z, "blocked.test", "0.0.0.0")
	set(t, z, "_http._tcp.test", "20 1 8080 far.test.", "10 5 8081 Two.test.", "10 7 8082 gone.test.")
	set(t, z, "far.test", "127.0.0.4")
	set(t, z, "none.test", "0 0 0 .")
	set(t, z, "old.test", "127.0.0.5")
	z.FailIPv6("old.test", dns.RcodeServerFailure)
	set(t, z, "odd.test", "127.0.0.6")
	z.FailIPv6("odd.test", dns.RcodeNameError)
	z.Fail("broken.test", dns.RcodeServerFailure)
	for range 3 {
		for _, test := range []struct {
			question question
			want     string
			fails    bool
		}{
			{question{name: "two.test"}, "two.test ip4 127.0.0.2 127.0.0.3\ntwo.test ip6\n", false},
			{question{name: "two.test."}, "two.test. ip4 127.0.0.2 127.0.0.3\ntwo.test. ip6\n", false},
			{question{name: "six.test"}, "six.test ip4\nsix.test ip6 ::1\n", false},
			{question{name: "old.test"}, "old.test ip4 127.0.0.5\nold.test ip6 unknown\n", true},
			{question{name: "odd.test"}, "odd.test ip4 127.0.0.6\nodd.test ip6\n", false},
			{question{name: "nowhere.test"}, "nowhere.test ip4 unknown\nnowhere.test ip6 unknown\n", true},
			{question{name: "unknown.test"}, "unknown.test ip4 unknown\nunknown.test ip6 unknown\n", true},
			{question{name: "blocked.test"}, "blocked.test ip4 unknown\nblocked.test ip6 unknown\n", true},
			{question{name: "broken.test"}, "broken.test ip4 unknown\nbroken.test ip6 unknown\n", true},
			{question{name: "_http._tcp.test", service: true}, "gone.test. ip4 :8082 priority 10 weight 7 unknown\n" +
				"gone.test. ip6 :8082 priority 10 weight 7 unknown\n" +
				"two.test. ip4 :8081 priority 10 weight 5 127.0.0.2 127.0.0.3\n" +
				"two.test. ip6 :8081 priority 10 weight 5\n" +
				"far.test. ip4 :8080 priority 20 weight 1 127.0.0.4\n" +
				"far.test. ip6 :8080 priority 20 weight 1\n", true},
			{question{name: "none.test", service: true}, "", false},
			{question{name: "two.test", service: true}, "", true},
			{question{name: "broken.test", service: true}, "", true},
		} {
			got, err := test.question.ask(t.Context(), z.Resolver())
			if inText(got) != test.want || err != nil != test.fails || test.question.service && err == nil && got == nil {
				t.Errorf("%+v: got %v, and\n%s, want\n%s", test.question, err, inText(got), test.want)
			}
		}
	}
}

// TestAskHosts: a name may be that of a host in the hosts file of this machine.
func TestAskHosts(t *testing.T) {
	got, err := question{name: "localhost"}.ask(t.Context(), openZone(t).Resolver())
	if err != nil || !slices.Contains(addresses(got), netip.MustParseAddrPort("127.0.0.1:0")) {
		t.Errorf("got %v, %s", err, inText(got))
	}
}

// TestAskMany: an answer that fits into no packet comes whole, up to a bound.
func TestAskMany(t *testing.T) {
	z := openZone(t)
	var hosts, services []string
	for i := range maxAddresses + 200 {
		hosts = append(hosts, fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250))
	}
	set(t, z, "many.test", hosts...)
	for i := range 3 {
		services = append(services, fmt.Sprintf("%d 1 80 part%d.test.", i, i))
		set(t, z, fmt.Sprintf("part%d.test", i), hosts[i*400:(i+1)*400]...)
	}
	set(t, z, "service.test", services...)
	got, err := question{name: "many.test"}.ask(t.Context(), z.Resolver())
	if err != nil || len(addresses(got)) != maxAddresses || got[0].addresses[0].String() != "127.1.0.1" {
		t.Errorf("got %d addresses, %v", len(got[0].addresses), err)
	}
	got, err = question{name: "service.test", service: true}.ask(t.Context(), z.Resolver())
	if err != nil || len(got) != 6 || len(got[0].addresses) != 400 || len(got[2].addresses) != 400 || len(got[4].addresses) != maxAddresses-800 {
		t.Errorf("got %d hosts, %v", len(got), err)
	}
}
