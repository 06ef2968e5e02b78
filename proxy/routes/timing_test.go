package routes

import (
	"fmt"
	"testing"
)

// hundred returns a table of 100 routes: by path of one host, or by host.
func hundred(t testing.TB, byHost bool) *Table {
	var all []Config
	for i := range 99 {
		c := Config{Path: fmt.Sprintf("/service-%02d", i), Pool: "main"}
		if byHost {
			c = Config{Host: fmt.Sprintf("service-%02d.example.com", i), Path: "/v1", Pool: "main"}
		}
		all = append(all, c)
	}
	return tableOf(t, append(all, Config{Pool: "rest"})...)
}

var timed = []struct {
	name                 string
	byHost               bool
	host, target, expect string
}{
	{"100 paths, the last", false, "example.com", "/service-98/items/4711?page=2", "main"},
	{"100 paths, none of them", false, "example.com", "/other/items/4711?page=2", "rest"},
	{"100 paths, spelled in another way", false, "example.com", "//service-98/./items/%34711?page=2", "main"},
	{"100 hosts", true, "service-98.example.com", "/v1/items/4711?page=2", "main"},
	{"100 hosts, none of them", true, "other.example.com", "/v1/items/4711?page=2", "rest"},
}

func TestFindDoesNotAllocate(t *testing.T) {
	for _, test := range timed {
		table, r := hundred(t, test.byHost), requestOf("GET", test.host, test.target)
		if got := found(table, r); got != test.expect {
			t.Errorf("%s: got %s, want %s", test.name, got, test.expect)
		}
		var m Match
		if n := testing.AllocsPerRun(1000, func() {
			m.Reset()
			_ = table.Find(r, &m)
			_ = m.Path()
		}); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	for _, test := range timed {
		b.Run(test.name, func(b *testing.B) {
			table, r := hundred(b, test.byHost), requestOf("GET", test.host, test.target)
			var m Match
			b.ReportAllocs()
			for b.Loop() {
				m.Reset()
				_ = table.Find(r, &m)
			}
		})
	}
	b.Run("no routes", func(b *testing.B) {
		table, r := New(nil, poolsOf("main")), requestOf("GET", "example.com", "/")
		var m Match
		for b.Loop() {
			m.Reset()
			_ = table.Find(r, &m)
		}
	})
}
