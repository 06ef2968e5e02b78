package upstream

import (
	"testing"

	"github.com/rs/zerolog"
)

// newTestPool makes a pool of three backends.
func newTestPool() *Pool {
	c := DefaultPoolConfig()
	for _, url := range []string{"http://a", "http://b", "http://c"} {
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(url), Weight: 1})
	}
	return NewPool("main", c, zerolog.Nop())
}

func TestUntried(t *testing.T) {
	s := newTestPool().current.Load()
	a, b, c := s.backends[0], s.backends[1], s.backends[2]
	for _, test := range []struct {
		tried  []*Backend
		picked int
		want   *Backend
	}{
		{nil, 1, b},
		{[]*Backend{a}, 1, b},
		{[]*Backend{b}, 1, c},
		{[]*Backend{c}, 2, a},
		{[]*Backend{b, c}, 1, a},
		{[]*Backend{a, b, c}, 1, nil},
	} {
		var tried Tried
		for _, b := range test.tried {
			tried.add(b)
		}
		if got := s.untried(test.picked, &tried); got != test.want {
			t.Errorf("after %d tries: got %v, want %v", len(test.tried), got, test.want)
		}
	}
}

// A backend takes requests while no bit of its state is set, whichever came first.
func TestMark(t *testing.T) {
	p := newTestPool()
	b := p.backends[1]
	const other = Down << 1
	for _, step := range []struct {
		bit  State
		on   bool
		want int // backends that take requests
	}{
		{Down, true, 2}, {Down, true, 2}, {other, true, 2}, {Down, false, 2}, {other, false, 3}, {Down, false, 3},
	} {
		p.Mark(b, step.bit, step.on)
		s, picked := p.current.Load(), map[int]bool{}
		for range 2 * len(p.backends) {
			picked[p.policy.Pick(s.set, 0)] = true
		}
		if len(s.backends) != step.want || len(picked) != step.want || b.takesRequests() != (step.want == 3) {
			t.Fatalf("after bit %d is %v: %d backends take requests, want %d", step.bit, step.on, len(s.backends), step.want)
		}
	}
}
