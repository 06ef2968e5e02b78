package limiter

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is added and removed, names are like a map.
func TestNamesAreLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, want := newNames(), make(map[string]*account)
		kinds := rapid.IntRange(1, 200).Draw(t, "kinds")
		for range rapid.IntRange(0, 500).Draw(t, "changes") {
			name := strconv.Itoa(rapid.IntRange(1, kinds).Draw(t, "name"))
			switch a := want[name]; {
			case a == nil:
				a = &account{}
				a.named.Store(&named{name: name})
				want[name] = a
				s.add(a)
			case rapid.Bool().Draw(t, "removed"):
				delete(want, name)
				s.remove(name)
			}
		}
		for i := range kinds + 1 {
			if name := strconv.Itoa(i); s.get(name) != want[name] {
				t.Fatalf("%s: %p, want %p", name, s.get(name), want[name])
			}
		}
		if n := int(s.size.Load()); n != len(want) || 4*n > 3*len(s.slots) {
			t.Fatalf("size %d with %d slots, want %d", n, len(s.slots), len(want))
		}
	})
}
