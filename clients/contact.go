package clients

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// contact is whether a store that is elsewhere answers. It is safe for concurrent use.
type contact struct {
	began time.Time
	up    atomic.Bool
	last  atomic.Int64 // when it answered last, as time since began
}

// newContact returns a contact that is lost, since now.
func newContact() *contact { return &contact{began: time.Now()} }

// found reports whether the contact is found only now.
func (c *contact) found() (news bool) {
	c.last.Store(int64(time.Since(c.began)))
	return !c.up.Swap(true)
}

// lost reports whether the contact is lost only now.
func (c *contact) lost() (news bool) { return c.up.Swap(false) }

func (c *contact) isLost() bool { return !c.up.Load() }

func (c *contact) state() state {
	if c.up.Load() {
		return state{}
	}
	return state{away: true, stale: time.Since(c.began) - time.Duration(c.last.Load())}
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
