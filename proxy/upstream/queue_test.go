package upstream

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestQueueOrder: clients have their turns one after the other, each client's requests in their
// order, and what had its turn in vain is next again. A step is a request that enters ("a1": the
// first of client a), one that enters again ("+a1"), one that leaves ("-a1"), or the turn of the
// next, with the request that must get it ("=a1").
func TestQueueOrder(t *testing.T) {
	for _, steps := range []string{
		"a1 a2 a3 =a1 =a2 =a3",
		"a1 a2 a3 b1 c1 =a1 =b1 =c1 =a2 =a3",
		"a1 a2 b1 =a1 b2 =b1 =a2 =b2",
		"a1 b1 =a1 +a1 =a1 =b1",
		"a1 a2 b1 =a1 +a1 =a1 =b1 =a2",
		"a1 a2 b1 -a1 =a2 =b1",
		"a1 b1 -a1 a2 =b1 =a2",
		"a1 -a1 =",
	} {
		synctest.Test(t, func(t *testing.T) {
			var q queue
			waiters := map[string]*Waiter{}
			for step := range strings.FieldsSeq(steps) {
				switch name := strings.TrimLeft(step, "+-="); step[0] {
				case '-':
					if !q.leave(waiters[name]) {
						t.Errorf("%s: %s is not in the queue", steps, name)
					}
				case '=':
					q.advance(1)
					for other, w := range waiters {
						if len(w.Turn) == 1 {
							<-w.Turn
							if other != name || q.leave(w) {
								t.Fatalf("%s: it is the turn of %s, want %s", steps, other, name)
							}
							name = ""
						}
					}
					if name != "" {
						t.Fatalf("%s: it is the turn of none, want %s", steps, name)
					}
				default:
					waiters[name] = NewWaiter(true)
					if !q.enter(waiters[name], uint64(name[0]), step[0] == '+', 10) {
						t.Errorf("%s: no room for %s", steps, name)
					}
				}
			}
			if q.waiting.Load() != 0 || len(q.lines) != 0 || q.turns.Len() != 0 {
				t.Errorf("%s: the queue is not empty", steps)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if q.probes {
				t.Errorf("%s: a probe is due for an empty queue", steps)
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		for i := range 3 {
			if got := q.enter(NewWaiter(true), uint64(i), false, 2); got != (i < 2) {
				t.Errorf("request %d enters: %v", i, got)
			}
		}
		if !q.enter(NewWaiter(true), 0, true, 2) {
			t.Error("a request that has had its turn in vain has lost its place")
		}
		for range 3 {
			q.advance(1)
		}
		time.Sleep(time.Minute)
	})
}

// TestQueueTurns: a request that has ended is the turn of one that waits for room, and of two that
// wait because no backend has answered.
func TestQueueTurns(t *testing.T) {
	for _, test := range []struct {
		full string // of each that waits, f if it waits for room
		n    int
		want int
	}{{"fff", 2, 1}, {"ooo", 2, 2}, {"ooo", 1, 1}, {"off", 2, 2}, {"foo", 2, 1}, {"o", 2, 1}, {"", 2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			var q queue
			for i, c := range test.full {
				q.enter(NewWaiter(c == 'f'), uint64(i), false, 10)
			}
			q.advance(test.n)
			if got := len(test.full) - int(q.waiting.Load()); got != test.want {
				t.Errorf("%+v: the turn of %d", test, got)
			}
			q.advance(len(test.full))
			for q.waiting.Load() > 0 {
				q.advance(1)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestProbes: while nothing else moves, one request gets its turn after 25 ms, 50 ms, and so on, up
// to every 250 ms.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		for i := range 8 {
			q.enter(NewWaiter(false), uint64(i), false, 10)
		}
		began := time.Now()
		var turns []string
		for left := int64(8); left > 0; time.Sleep(time.Millisecond) {
			synctest.Wait()
			if now := q.waiting.Load(); now != left {
				turns, left = append(turns, fmt.Sprint(time.Since(began).Milliseconds())), now
			}
			if left == 2 {
				q.advance(1) // something has moved: probes pause, and begin anew
			}
		}
		if got := strings.Join(turns, " "); got != "25 75 175 375 625 875 876 1150" {
			t.Errorf("turns after %s ms", got)
		}
		time.Sleep(time.Minute)
	})
}
