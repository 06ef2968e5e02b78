package faults

import (
	"testing"
	"time"

	"loadbalancer/limiter/shared/redistest"
)

// Instances come and go amid overload: one stands still for longer than it counts as one that lives, one
// is killed, and one joins. The bound holds as if all had been there; what the killed one had not told,
// at most its credit, is forgotten.
func TestMembers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := &setup{backend: startBackend(t), wait: time.Second, limits: []limit{{"a", 6, 2}, {"b", 20, 5}, {"c", 240, 20}, {"d", 1000, 50}}}
	all := s.share(t, server.URL(), server.URL(), server.URL())
	paused, killed := all[1], all[2]
	run := startOverload(s, all)
	time.Sleep(1500 * time.Millisecond)
	paused.Freeze(t)
	time.Sleep(500 * time.Millisecond)
	killed.Kill()
	awaitFleet(t, all[:1], 1)
	paused.Thaw(t)
	more := s.begin(t, server.URL())
	also := startOverload(s, more)
	awaitFleet(t, []*instance{all[0], paused, more[0]}, 3)
	time.Sleep(creditAfter + time.Second)
	run.stop(t)
	also.stop(t)
	for _, l := range s.limits {
		bound := float64(l.capacity + l.capacity/8 + l.credit(len(all)))
		most := mostOf(s.backend.of(l.name), l.rate)
		t.Logf("%s: the worst window has %.2f beyond the refill, of at most %.0f", l.name, most, bound)
		if l.credit(1) == 0 {
			bound = float64(l.capacity)
		}
		if most > bound+clocks {
			t.Errorf("%s: a window has %.2f tokens beyond the refill, more than %.0f", l.name, most, bound)
		}
	}
}
