package upstream

import "time"

// A backend that comes back takes more requests step by step, since its caches are cold, and all
// that waits would fall upon it at once.
const (
	rampSteps   = 20
	defaultRamp = 10 * time.Second // where slow_start is 0
)

// rampStep returns the share of its weight that a backend has which takes requests again since
// returned, in steps of which rampSteps are the whole. The zero time is long ago.
func rampStep(returned time.Time, over time.Duration, now time.Time) int {
	if returned.IsZero() {
		return rampSteps
	}
	return min(rampSteps, 1+int(now.Sub(returned)*rampSteps/over))
}
