package healthz

// state is what the checks of one backend have shown so far. The zero value is the start: up, but unproven.
type state struct {
	proven bool // a check has ended
	down   bool
	streak int // latest results in a row that speak against down's present value
}

// next returns the state after one more check, and whether the backend went down or came back by it. rise is the number
// of successes in a row that bring it back, fall the number of failures in a row that put it out. An unproven backend
// goes out with its first failure: nothing yet speaks for it.
func (s state) next(ok bool, rise, fall int) (next state, changed bool) {
	needed := fall
	switch {
	case s.down:
		needed = rise
	case !s.proven:
		needed = 1
	}
	s.proven = true
	if ok != s.down {
		s.streak = 0
		return s, false
	}
	s.streak++
	if s.streak < needed {
		return s, false
	}
	s.down = !s.down
	s.streak = 0
	return s, true
}

// suspect reports whether the next check is likely to fail, and so to last the whole timeout.
func (s state) suspect() bool {
	return s.down && s.streak == 0
}
