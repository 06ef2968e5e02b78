package clients

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// contact is whether a store that is elsewhere answers. The zero value is lost, since ever. It is
// safe for concurrent use.
type contact struct {
	up   atomic.Bool
	last atomic.Int64 // Unix nanoseconds of the last answer; 0: there was none
}

func (c *contact) found() {
	c.last.Store(time.Now().UnixNano())
	c.up.Store(true)
}

// lost reports whether the contact is lost only now.
func (c *contact) lost() (news bool) { return c.up.Swap(false) }

func (c *contact) isLost() bool { return !c.up.Load() }

func (c *contact) state(now time.Time) (s state) {
	if c.up.Load() {
		return s
	}
	s.away = true
	if last := c.last.Load(); last != 0 {
		s.stale = now.Sub(time.Unix(0, last))
	}
	return s
}

// The pause between two attempts to reach a store doubles from firstPause to longestPause, each
// half of it at random, so that instances do not come all at once.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// backoff are the pauses between attempts. The zero value begins.
type backoff struct{ pause time.Duration }

// wait waits for the next attempt, or returns the error of ctx.
func (b *backoff) wait(ctx context.Context) error {
	b.pause = min(max(firstPause, 2*b.pause), longestPause)
	timer := time.NewTimer(b.pause/2 + rand.N(b.pause/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
