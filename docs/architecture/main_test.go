package main

import (
	"bytes"
	"os"
	"testing"
)

func TestPictureIsUpToDate(t *testing.T) {
	committed, err := os.ReadFile("../architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // maps have another order each time
		if drawn := draw(all.reachedFrom("main")); !bytes.Equal(drawn, committed) {
			t.Fatalf("docs/architecture.svg is not what the imports are: go run ./docs/architecture:\n%s", drawn)
		}
	}
}

// Every import is an arrow, every arrow points down, and nothing in a row overlaps.
func TestLayout(t *testing.T) {
	for name, all := range map[string]imports{
		"diamond": {"main": {"a", "b", "c"}, "a": {"c"}, "b": {"c"}, "c": {}},
		"chain":   {"main": {"a", "b", "c"}, "a": {"b", "c"}, "b": {"c"}, "c": {}},
		"alone":   {"main": {}},
		"long":    {"main": {"a/name/that/is/long", "b"}, "a/name/that/is/long": {"c"}, "b": {}, "c": {}},
	} {
		l, n := lay(all), 0
		for _, to := range all {
			n += len(to)
		}
		if len(l.arrows) != n {
			t.Errorf("%s: %d arrows for %d imports", name, len(l.arrows), n)
		}
		for _, a := range l.arrows {
			for i, n := range a.path {
				if n.row != a.path[0].row+i || (n.name == "") != (i > 0 && i < len(a.path)-1) {
					t.Errorf("%s: the arrow from %s passes %+v", name, a.path[0].name, n)
				}
			}
		}
		for _, row := range l.rows {
			for i := range len(row) - 1 {
				a, b := row[i], row[i+1]
				if between := b.x - b.width/2 - a.x - a.width/2; between < gap-0.001 {
					t.Errorf("%s: %g pixels between %q and %q", name, between, a.name, b.name)
				}
			}
		}
	}
}

func TestImplied(t *testing.T) {
	all := imports{"main": {"a", "b"}, "a": {"b"}, "b": {}}
	if !all.implied("main", "b") || all.implied("main", "a") || all.implied("a", "b") {
		t.Error("of main's imports, b alone is needed by another")
	}
}
