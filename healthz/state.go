package healthz

// state is what the checks of one backend have shown so far. The zero value is the start: up, but
// unproven.
type state struct {
	proven bool  // a check has ended
	cause  Cause // of the latest failure, while the backend is down; Passed: it is up
	streak int   // number of latest consecutive results that contradict down
}

func (s state) down() bool { return s.cause != Passed }

// next returns the state after one more check. rise is the number of consecutive successes that
// bring a backend back, and fall the number of consecutive failures that take it out. An unproven
// backend goes out at its first failure.
func (s state) next(result Cause, rise, fall int) state {
	needed := fall
	switch {
	case s.down():
		needed = rise
	case !s.proven:
		needed = 1
	}
	s.proven = true
	if agrees := (result != Passed) == s.down(); agrees {
		s.cause, s.streak = result, 0
		return s
	}
	s.streak++
	if s.streak >= needed {
		s.cause, s.streak = result, 0
	}
	return s
}

// suspect reports whether the next check is likely to fail, and so to take the whole timeout.
func (s state) suspect() bool {
	return s.down() && s.streak == 0
}
