package wire

import (
	"net"
	"testing"
	"time"
)

// pair returns the two ends of a connection, of which the second is over.
func pair(t *testing.T) (peer net.Conn, c *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	over := Over(accepted)
	t.Cleanup(func() { peer.Close(); accepted.Close() })
	return peer, &over
}

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
