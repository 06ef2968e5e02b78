package limiter

import "time"

// Wait returns how long a request waits at most.
func (s *Share) Wait() time.Duration { return time.Duration(s.wait.Load()) }

// Flush has everything told that is not, as before the process ends. From now on there is no credit,
// until Return is called.
func (s *Share) Flush() {
	for {
		f := s.fleet.Load()
		if f.away || s.fleet.CompareAndSwap(f, &fleet{instances: f.instances}) {
			break
		}
	}
	s.each(func(t *tally) bool { return t.untold() > 0 })
}
