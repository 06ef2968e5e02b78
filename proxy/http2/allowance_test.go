package http2

import (
	"testing"
	"time"
)

func TestAllowance(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	for _, test := range []struct {
		name  string
		every time.Duration // between two frames
		cost  int
		earn  int // before each
		most  int // frames that are taken at most; 0: all of 20,000
		least int
	}{
		{"a flood of frames", time.Microsecond, costOfFrame, 0, 6000, fullAllowance},
		{"rapid reset", 10 * time.Microsecond, costOfReset, 0, 600, fullAllowance / costOfReset},
		{"frames as they may come", time.Second / earnedBySecond, costOfFrame, 0, 0, 0},
		{"each response is reset", time.Microsecond, costOfReset, earnedByAnswer, 0, 0},
		{"each DATA is answered", time.Microsecond, 2 * costOfFrame, earnedByData, 0, 0},
		{"much is earned, and then nothing", time.Microsecond, costOfFrame, 0, 6000, fullAllowance},
	} {
		var a allowance
		a.begin(start)
		a.earn(1_000_000)
		now, taken := start, 0
		for ; taken < 20_000; taken++ {
			now = now.Add(test.every)
			a.earn(test.earn)
			if !a.spend(test.cost, func() time.Time { return now }) {
				break
			}
		}
		if test.most == 0 && taken < 20_000 || test.most > 0 && (taken > test.most || taken < test.least) {
			t.Errorf("%s: %d frames were taken, want at most %d", test.name, taken, test.most)
		}
	}
}
