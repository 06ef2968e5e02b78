package proxy

import "testing"

// newTestPool makes a pool of three backends.
func newTestPool() *pool {
	c := DefaultPoolConfig()
	for _, url := range []string{"http://a", "http://b", "http://c"} {
		c.Backends = append(c.Backends, BackendConfig{URL: mustURL(url), Weight: 1})
	}
	return newPool("main", c)
}

func TestUntried(t *testing.T) {
	s := newTestPool().current.Load()
	a, b, c := s.backends[0], s.backends[1], s.backends[2]
	for _, test := range []struct {
		tried  []*backend
		picked int
		want   *backend
	}{
		{nil, 1, b},
		{[]*backend{a}, 1, b},
		{[]*backend{b}, 1, c},
		{[]*backend{c}, 2, a},
		{[]*backend{b, c}, 1, a},
		{[]*backend{a, b, c}, 1, nil},
	} {
		var tried triedSet
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
	const other = down << 1
	for _, step := range []struct {
		bit  state
		on   bool
		want int // backends that take requests
	}{
		{down, true, 2}, {down, true, 2}, {other, true, 2}, {down, false, 2}, {other, false, 3}, {down, false, 3},
	} {
		p.mark(b, step.bit, step.on)
		s, picked := p.current.Load(), map[int]bool{}
		for range 2 * len(p.backends) {
			picked[p.policy.Pick(s.set, 0)] = true
		}
		if len(s.backends) != step.want || len(picked) != step.want || b.takesRequests() != (step.want == 3) {
			t.Fatalf("after bit %d is %v: %d backends take requests, want %d", step.bit, step.on, len(s.backends), step.want)
		}
	}
}
