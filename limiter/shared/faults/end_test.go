package faults

import (
	"testing"
	"time"
)

// What an instance let through counts when it has ended. If it is killed, its credit may be forgotten.
func TestEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end       func(t *testing.T, b *instance)
		mayForget func(l limit, instances int) int
	}{
		"by SIGTERM": {
			func(t *testing.T, b *instance) { b.End(t, deadline) },
			func(limit, int) int { return 0 },
		},
		"by SIGKILL": {
			func(_ *testing.T, b *instance) { b.Kill() },
			limit.credit,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := limit{"moved", 1000, 0.5}
			s, _, all := pair(t, client)
			// Less than half of the credit is not told at once.
			begun, some := time.Now(), client.credit(len(all))/2-1
			for n := range some {
				if a := all[0].ask(client.name); a.status != 200 {
					t.Fatalf("request %d got %+v", n, a)
				}
			}
			c.end(t, all[0])
			left := turns(t, client, all[1])
			refill := client.rate * time.Since(begun).Seconds()
			forgotten := float64(some+left-client.capacity) - refill
			t.Logf("%d passed at the one, then %d at the other, of %d: %.1f were forgotten", some, left, client.capacity, max(0, forgotten))
			if may := float64(c.mayForget(client, len(all))); forgotten > may+clocks {
				t.Errorf("%.1f tokens are forgotten, more than %.0f", forgotten, may)
			}
			if some+left < client.capacity {
				t.Errorf("%d of %d tokens passed", some+left, client.capacity)
			}
			if seen := len(s.backend.of(client.name)); seen != some+left {
				t.Errorf("the backend has seen %d requests, %d passed", seen, some+left)
			}
		})
	}
}
