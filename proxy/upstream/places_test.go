package upstream

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// hosts returns one target with these addresses.
func hosts(host string, texts ...string) target {
	t := target{host: host}
	for _, text := range texts {
		t.addresses = append(t.addresses, netip.MustParseAddr(text))
	}
	return t
}

// in returns a target of one family.
func in(family string, t target) target {
	t.family = family
	return t
}

// record returns a target of an SRV record.
func record(priority, weight, port uint16, t target) target {
	t.priority, t.weight, t.port = priority, weight, port
	return t
}

// TestKeep: what a look-up does not find stays as it was found last.
func TestKeep(t *testing.T) {
	a, b := hosts("a", "10.0.0.1"), hosts("b", "10.0.0.2")
	for _, test := range []struct {
		name            string
		last, now, want []target
	}{
		{"the first", nil, []target{a}, []target{a}},
		{"the first fails", nil, nil, nil},
		{"other addresses", []target{a}, []target{hosts("a", "10.0.0.3")}, []target{hosts("a", "10.0.0.3")}},
		{"it fails", []target{a}, nil, []target{a}},
		{"no such service", []target{a}, []target{}, []target{}},
		{"a host fails", []target{a, b}, []target{hosts("a"), hosts("b", "10.0.0.9")}, []target{a, hosts("b", "10.0.0.9")}},
		{"a host that is new fails", []target{a}, []target{a, hosts("c")}, []target{a, hosts("c")}},
		{"one family fails", []target{in("ip4", a), in("ip6", hosts("a", "2001:db8::1"))}, []target{in("ip4", hosts("a", "10.0.0.9")), in("ip6", hosts("a"))},
			[]target{in("ip4", hosts("a", "10.0.0.9")), in("ip6", hosts("a", "2001:db8::1"))}},
		{"a host that has gone", []target{a, b}, []target{hosts("b")}, []target{b}},
		{"a host fails, its port has moved", []target{record(1, 2, 80, a)}, []target{record(3, 4, 81, hosts("a"))}, []target{record(3, 4, 81, a)}},
	} {
		if got := keep(test.last, test.now); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestPlaces: which backends a config stands for, given the answers to its look-ups.
func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		name    string
		urls    string // each with a weight behind a space
		answers map[string][]target
		want    string // of each backend address, weight and rank
	}{
		{"a backup", "http://10.0.0.1 1, backup:http://10.0.0.2 1, backup:http://a 2",
			map[string][]target{"a": {hosts("a", "10.0.0.3")}}, "10.0.0.1:80 1 0, 10.0.0.2:80 1 65536, 10.0.0.3:80 2 65536"},
		{"records of a backup", "backup:srv://s 1", map[string][]target{"s": {
			record(1, 1, 80, hosts("a", "10.0.0.1")), record(2, 1, 80, hosts("b", "10.0.0.2")),
		}}, "10.0.0.1:80 1 65536, 10.0.0.2:80 1 65537"},
		{"addresses", "http://10.0.0.1 1, unix:/s 3", nil, "10.0.0.1:80 1 0, /s 3 0"},
		{"localhost", "http://localhost:8100 1", nil, "localhost:8100 1 0"},
		{"a name without an answer", "http://a 1, http://10.0.0.1 1", nil, "10.0.0.1:80 1 0"},
		{"each address of a name", "http://A:8080 2, http://10.0.0.1 1",
			map[string][]target{"a": {hosts("a", "10.0.0.2", "10.0.0.3", "2001:db8::1")}},
			"10.0.0.2:8080 2 0, 10.0.0.3:8080 2 0, [2001:db8::1]:8080 2 0, 10.0.0.1:80 1 0"},
		{"one name, two ports", "http://a:1 1, http://a:2 1", map[string][]target{"a": {hosts("a", "10.0.0.2")}}, "10.0.0.2:1 1 0, 10.0.0.2:2 1 0"},
		{"an address twice", "http://a 1, http://10.0.0.2 5, http://b 3",
			map[string][]target{"a": {hosts("a", "10.0.0.2")}, "b": {hosts("b", "10.0.0.2", "10.0.0.3")}}, "10.0.0.2:80 1 0, 10.0.0.3:80 3 0"},
		{"records", "srv://s 1", map[string][]target{"s": {
			record(10, 60, 80, hosts("a", "10.0.0.1")), record(10, 0, 81, hosts("b", "10.0.0.2", "10.0.0.3")), record(20, 5, 82, hosts("c", "10.0.0.1")),
		}}, "10.0.0.1:80 60 0, 10.0.0.2:81 1 0, 10.0.0.3:81 1 0, 10.0.0.1:82 5 1"},
		{"a record of an unknown host", "srv://s 1", map[string][]target{"s": {record(0, 1, 80, hosts("a")), record(1, 1, 80, hosts("b", "10.0.0.2"))}}, "10.0.0.2:80 1 1"},
		{"great weights", "srv://s 1", map[string][]target{"s": {
			record(0, 65535, 80, hosts("a", "10.0.0.1")), record(0, 32768, 80, hosts("b", "10.0.0.2")), record(0, 0, 80, hosts("c", "10.0.0.3")),
		}}, "10.0.0.1:80 1000 0, 10.0.0.2:80 500 0, 10.0.0.3:80 1 0"},
		{"a weight of the config times that of a record", "srv://s 3", map[string][]target{"s": {
			record(0, 10, 80, hosts("a", "10.0.0.1")), record(0, 0, 80, hosts("b", "10.0.0.2")),
		}}, "10.0.0.1:80 30 0, 10.0.0.2:80 3 0"},
		{"no requests, whatever the records", "srv://s 0", map[string][]target{"s": {record(0, 10, 80, hosts("a", "10.0.0.1"))}}, "10.0.0.1:80 0 0"},
	} {
		var c []BackendConfig
		for url := range strings.SplitSeq(test.urls, ", ") {
			var text string
			var weight int
			if _, err := fmt.Sscan(url, &text, &weight); err != nil {
				t.Fatal(err)
			}
			text, backup := strings.CutPrefix(text, "backup:")
			c = append(c, BackendConfig{URL: mustURL(text), Weight: weight, Backup: backup, MaxConnections: 7})
		}
		var got []string
		for _, p := range places(c, func(q question) []target { return test.answers[q.name] }) {
			got = append(got, fmt.Sprint(p.URL.address, " ", p.Weight, " ", p.rank))
			if p.MaxConnections != 7 {
				t.Errorf("%s: %d connections", test.name, p.MaxConnections)
			}
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRanks: requests go to the backends of the lowest rank of which one takes any; a request that
// has tried all of these goes to another.
func TestRanks(t *testing.T) {
	p := NewPool("main", withBackends("http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3", "http://10.0.0.4"), zerolog.Nop())
	for i, rank := range []int{2, 0, 1, 0} {
		p.backends[i].rank = rank
	}
	for _, step := range []struct {
		out  int // goes out
		want []int
		then []int
	}{
		{-1, []int{1, 3}, []int{2, 0}},
		{1, []int{3}, []int{2, 0}},
		{3, []int{2}, []int{0}},
		{2, []int{0}, nil},
	} {
		if step.out >= 0 {
			p.Mark(p.backends[step.out], Down, true)
		} else {
			p.Mark(p.backends[0], Down, false)
		}
		var tried Tried
		var got []int
		for p.HasUntried(&tried) {
			b := p.Pick(0, p.budget.start, &tried)
			got = append(got, slices.Index(p.backends, b))
		}
		first := got[:len(step.want)]
		slices.Sort(first)
		if !slices.Equal(first, step.want) || !slices.Equal(got[len(first):], step.then) {
			t.Errorf("without %d: requests go to %v, want %v and then %v", step.out, got, step.want, step.then)
		}
	}
}
