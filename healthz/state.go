package healthz

// state is what the checks of one backend have shown so far. The zero value is the start: up, but
// unproven.
type state struct {
	proven bool // a check has ended
	down   bool
	streak int // number of latest consecutive results that contradict down
}

// next returns the state after one more check, and whether that check took the backend down or
// brought it back. rise is the number of consecutive successes that bring it back, and fall the
// number of consecutive failures that take it out. An unproven backend goes out at its first
// failure.
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

// suspect reports whether the next check is likely to fail, and so to take the whole timeout.
func (s state) suspect() bool {
	return s.down && s.streak == 0
}
