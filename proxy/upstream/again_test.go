package upstream

import (
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestPickAgain gives a request that has tried all backends the one that it has tried longest ago.
func TestPickAgain(t *testing.T) {
	for _, test := range []struct {
		name  string
		tried []int // backends, in order
		down  []int
		full  []int
		want  int // -1: none
	}{
		{"the only one", []int{0}, []int{1, 2}, nil, 0},
		{"the first of three", []int{1, 2, 0}, nil, nil, 1},
		{"not the first, which is tried again", []int{1, 2, 0, 1}, nil, nil, 2},
		{"not one that is down", []int{1, 2, 0}, []int{1}, nil, 2},
		{"one that has come up", []int{1, 2}, nil, nil, 0},
		{"not one that is full", []int{1, 2, 0}, nil, []int{1}, 2},
		{"none but full ones", []int{0, 1, 2}, []int{2}, []int{0, 1}, -1},
		{"none", []int{0, 1, 2}, []int{0, 1, 2}, nil, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultPoolConfig()
			for _, url := range []string{"http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"} {
				c.Backends = append(c.Backends, BackendConfig{URL: mustURL(url), Weight: 1})
			}
			p := NewPool("main", c, zerolog.Nop())
			tried := Tried{counted: true}
			for _, at := range test.tried {
				tried.add(p.all()[at])
			}
			for _, at := range test.down {
				p.Mark(p.all()[at], Down, true)
			}
			for _, at := range test.full {
				p.all()[at].pending.limit(1)
				p.all()[at].pending.take()
			}
			b := p.PickAgain(time.Now(), &tried)
			if got := slices.Index(p.all(), b); got != test.want {
				t.Errorf("got backend %d, want %d", got, test.want)
			}
			if b != nil && (tried.Last().Backend != b || p.retries.Load() != 1) {
				t.Errorf("it is not noted, or %d retries are", p.retries.Load())
			}
		})
	}
}
