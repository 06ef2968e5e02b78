package mux

import (
	"testing"
	"time"
)

// TestQuiet takes a connection through silences. Each step is what happened, and what follows.
func TestQuiet(t *testing.T) {
	const minute = time.Minute
	for name, steps := range map[string][]struct {
		after      time.Duration // since the step before
		came       string        // "": nothing has come for the time of wait; "data" of a stream, or "other"
		ping, dead bool
	}{
		"no answer": {{15 * time.Second, "", true, false}, {10 * time.Second, "", false, true}},
		"answers": {
			{15 * time.Second, "", true, false}, {time.Second, "other", false, false}, {15 * time.Second, "", false, false},
			{4 * minute, "", false, false}, {2 * minute, "", true, false}, {10 * time.Second, "", false, true},
		},
		"data": {
			{15 * time.Second, "", true, false}, {time.Second, "data", false, false}, {15 * time.Second, "", true, false},
			{time.Second, "data", false, false}, {15 * time.Second, "", true, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var q quiet
			q.busy.Store(true)
			now := time.Unix(1_000_000, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				if s.came != "" {
					if q.heard(); s.came == "data" {
						q.sent()
					}
					continue
				}
				if ping, dead := q.next(now); ping != s.ping || dead != s.dead {
					t.Fatalf("step %d: ping %v, dead %v, want %v, %v", i, ping, dead, s.ping, s.dead)
				}
				if want := map[bool]time.Duration{true: deadAfter, false: pingAfter}[s.ping || s.dead]; q.wait() != want {
					t.Errorf("step %d: waits %s, want %s", i, q.wait(), want)
				}
			}
		})
	}
	var idle quiet
	if ping, dead := idle.next(time.Now()); ping || dead {
		t.Error("a connection without streams was asked")
	}
}
