package wire

import (
	"testing"
	"time"
)

// TestTimeoutsAreLateByAnEighth at most: what the deadlines are set to.
func TestTimeoutsAreLateByAnEighth(t *testing.T) {
	now := time.Now()
	for _, timeout := range []time.Duration{time.Millisecond, time.Second, 30 * time.Second} {
		for _, left := range []time.Duration{-time.Hour, 0, timeout / 2, timeout - 1, timeout, timeout * 17 / 16, timeout * 9 / 8, timeout*9/8 + 1, time.Hour} {
			by, set := roll(now.Add(left), now, timeout)
			if wait := by.Sub(now); wait < timeout || wait > timeout*9/8 {
				t.Errorf("%s, with %s left: waits for %s", timeout, left, wait)
			}
			if inRange := left >= timeout && left <= timeout*9/8; set == inRange {
				t.Errorf("%s, with %s left: set is %v", timeout, left, set)
			}
		}
	}
}
