package wire

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestLingerWait(t *testing.T) {
	for _, test := range []struct {
		so    time.Duration
		hurry bool
		want  time.Duration // 0: no longer
	}{
		{0, false, time.Second},
		{20 * time.Second, false, time.Second},
		{29500 * time.Millisecond, false, 500 * time.Millisecond},
		{30 * time.Second, false, 0},
		{40 * time.Second, false, 0},
		{0, true, time.Second},
		{900 * time.Millisecond, true, 100 * time.Millisecond},
		{time.Second, true, 0},
		{20 * time.Second, true, 0},
	} {
		if got := max(0, lingerWait(test.so, test.hurry)); got != test.want {
			t.Errorf("after %s, in a hurry: %v: waits for %s, want %s", test.so, test.hurry, got, test.want)
		}
	}
}

// TestLinger reads on while the peer sends, and ends when it is silent or closes.
func TestLinger(t *testing.T) {
	for _, test := range []struct {
		name   string
		sends  time.Duration // then it is silent, or closes
		closes bool
		hurry  bool
		least  time.Duration
		most   time.Duration
	}{
		{"closes", 1500 * time.Millisecond, true, false, 1400 * time.Millisecond, 2300 * time.Millisecond},
		{"silent", 0, false, false, time.Second, 2 * time.Second},
		{"in a hurry", 4 * time.Second, true, true, time.Second, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			peer, c := pair(t)
			var hurry atomic.Bool
			hurry.Store(test.hurry)
			go func() {
				for end := time.Now().Add(test.sends); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // the pace is what is tested
					if _, err := peer.Write([]byte("x")); err != nil {
						return
					}
				}
				if test.closes {
					peer.Close()
				}
			}()
			began := time.Now()
			if err := c.End(Linger, &hurry); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < test.least || took > test.most {
				t.Errorf("ended after %s, want %s to %s", took, test.least, test.most)
			}
		})
	}
}
