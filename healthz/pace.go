package healthz

import (
	"math/rand/v2"
	"time"
)

const (
	// startAtOnce is how many first checks begin in one instant: a small pool knows at once.
	startAtOnce = 16
	// startGap is the longest time between the first checks of two targets beyond these.
	startGap = 5 * time.Millisecond
	// downPause is the shortest pause between checks of a backend that is down, unless the interval
	// itself is shorter.
	downPause = 250 * time.Millisecond
	// gridsPerPause and maxGrid are in grid.
	gridsPerPause = 25
	maxGrid       = 100 * time.Millisecond
)

// startAfter returns how long the first check of the i-th of n targets waits. The first 16 begin at
// once, the others one by one every 5 ms or, if that would take longer than within, evenly spread
// over that time. So the checks of 1,000 backends do not begin in one instant, and since each
// target has its own interval from then on, they stay spread.
func startAfter(i, n int, within time.Duration) time.Duration {
	if i < startAtOnce {
		return 0
	}
	return time.Duration(i-startAtOnce+1) * min(startGap, within/time.Duration(n-startAtOnce))
}

// pause returns the time from one check to the next, before jitter. A backend that is down, which
// may come back any moment, is checked at a quarter of the interval, but not more often than every
// 250 ms, or than at the interval itself if that is shorter.
func (c Config) pause(down bool) time.Duration {
	if down {
		return max(c.Interval/4, min(c.Interval, downPause))
	}
	return c.Interval
}

// grid returns the time between the instants at which checks with this pause begin: a 25th of it,
// but at most 100 ms.
func grid(pause time.Duration) time.Duration {
	return max(1, min(pause/gridsPerPause, maxGrid))
}

// wait returns how long the next check waits, which is the pause, give or take 10 %: up to 8 % by
// chance, so that the checks of many backends do not run in step, and up to 2 % so that it begins
// at an instant of the grid. There it shares the wake-up of the process with others: of 1,000
// backends 40 are checked at each instant, which takes half the CPU time of waking up for each.
func wait(now time.Time, pause time.Duration) time.Duration {
	drawn := pause - pause/100*8 + rand.N(pause/100*16+1)
	return now.Add(drawn).Round(grid(pause)).Sub(now)
}
