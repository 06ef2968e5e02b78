package clients

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestContact(t *testing.T) {
	c := newContact()
	if s := c.state(); !s.away || s.stale < 0 || !c.isLost() {
		t.Errorf("a new contact is %+v", s)
	}
	if c.lost() {
		t.Error("what was never there is lost")
	}
	for range 2 {
		if !c.found() || c.found() {
			t.Error("a contact is news when it is found, and then no more")
		}
		if s := c.state(); s.away || s.stale != 0 || c.isLost() {
			t.Errorf("a contact is %+v", s)
		}
		if !c.lost() || c.lost() {
			t.Error("a loss is news when it comes, and then no more")
		}
		time.Sleep(2 * time.Millisecond)
		if s := c.state(); !s.away || s.stale < 2*time.Millisecond || s.stale > time.Minute {
			t.Errorf("a lost contact is %+v", s)
		}
	}
}

// TestBackoff checks the bounds of the pauses: from half of each to the whole.
func TestBackoff(t *testing.T) {
	b := backoff{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if err := b.wait(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a wait whose context has ended returned %v", err)
		}
		if b.pause != most*time.Millisecond {
			t.Errorf("the pause is %s, want %dms", b.pause, most)
		}
	}
	b = backoff{}
	began := time.Now()
	if err := b.wait(t.Context()); err != nil || time.Since(began) < firstPause/2 {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestLock(t *testing.T) {
	l := newLock()
	if err := l.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.take(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held is taken: %v", err)
	}
	l.give()
	if err := l.take(t.Context()); err != nil {
		t.Error(err)
	}
}
