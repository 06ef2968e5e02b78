package upstream

import (
	"fmt"
	"net/netip"
	"reflect"
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

// TestAsk asks a DNS server, whose records come in another order each time.
func TestAsk(t *testing.T) {
	z := openZone(t)
	set(t, z, "two.test", "127.0.0.3", "127.0.0.2", "127.0.0.2")
	set(t, z, "nowhere.test")
	set(t, z, "blocked.test", "0.0.0.0")
	set(t, z, "_http._tcp.test", "20 1 8080 far.test.", "10 5 8081 Two.test.", "10 7 8082 gone.test.")
	set(t, z, "far.test", "127.0.0.4")
	set(t, z, "none.test", "0 0 0 .")
	z.Fail("broken.test", dns.RcodeServerFailure)
	two := hosts("two.test", "127.0.0.2", "127.0.0.3")
	for range 3 {
		for _, test := range []struct {
			question question
			want     []target
			fails    bool
		}{
			{question{name: "two.test"}, []target{two}, false},
			{question{name: "two.test."}, []target{{host: "two.test.", addresses: two.addresses}}, false},
			{question{name: "nowhere.test"}, nil, true},
			{question{name: "unknown.test"}, nil, true},
			{question{name: "blocked.test"}, nil, true},
			{question{name: "broken.test"}, nil, true},
			{question{name: "_http._tcp.test", service: true}, []target{
				record(10, 7, 8082, hosts("gone.test.")), record(10, 5, 8081, hosts("two.test.", "127.0.0.2", "127.0.0.3")),
				record(20, 1, 8080, hosts("far.test.", "127.0.0.4")),
			}, true},
			{question{name: "none.test", service: true}, []target{}, false},
			{question{name: "two.test", service: true}, nil, true},
			{question{name: "broken.test", service: true}, nil, true},
		} {
			got, err := test.question.ask(t.Context(), z.Resolver())
			if !reflect.DeepEqual(got, test.want) || err != nil != test.fails {
				t.Errorf("%+v: got %+v, %v, want %+v", test.question, got, err, test.want)
			}
		}
	}
}

// TestAskMany: an answer that fits into no packet comes whole, up to a bound.
func TestAskMany(t *testing.T) {
	z := openZone(t)
	var addresses, services []string
	for i := range maxAddresses + 200 {
		addresses = append(addresses, fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250))
	}
	set(t, z, "many.test", addresses...)
	for i := range 3 {
		services = append(services, fmt.Sprintf("%d 1 80 part%d.test.", i, i))
		set(t, z, fmt.Sprintf("part%d.test", i), addresses[i*400:(i+1)*400]...)
	}
	set(t, z, "service.test", services...)
	got, err := question{name: "many.test"}.ask(t.Context(), z.Resolver())
	if err != nil || len(got[0].addresses) != maxAddresses || got[0].addresses[0].String() != "127.1.0.1" {
		t.Errorf("got %d addresses, %v", len(got[0].addresses), err)
	}
	got, err = question{name: "service.test", service: true}.ask(t.Context(), z.Resolver())
	if err != nil || len(got) != 3 || len(got[0].addresses) != 400 || len(got[1].addresses) != 400 || len(got[2].addresses) != maxAddresses-800 {
		t.Errorf("got %d hosts, %v", len(got), err)
	}
}
