package limiter

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestShareResetWhileAway resets a client while the center is away.
func TestShareResetWhileAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		one, two := c.instance(t, 2), c.instance(t, 2)
		id := client("192.0.2.1")
		for _, l := range []*Limiter{one, two} {
			l.grant(id, Terms{Limit: Limit{10, 0.001}}, full)
		}
		spend(one, "192.0.2.1", 10)
		one.share.Leave()
		one.Reset(id)
		time.Sleep(time.Second)
		one.share.Return(among(2))
		time.Sleep(100 * time.Millisecond)
		if told := c.heard(); !told[len(told)-1].Reset {
			t.Errorf("%+v", told)
		}
	})
}

// TestShareGrantsToThoseThatWait has one of two waiting requests give up.
func TestShareGrantsToThoseThatWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := New(Config{Default: Default{Limit: Limit{100, 0.001}}, IPv6Prefix: 64, MaxTracked: 1000})
		s := l.Share(5 * time.Millisecond)
		s.Return(among(2))
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{10, 0.001}}, full)
		var admitted atomic.Int64
		go spend(l, "192.0.2.1", 1)
		time.Sleep(3 * time.Millisecond)
		go func() { admitted.Store(spend(l, "192.0.2.1", 1)) }()
		time.Sleep(time.Millisecond)
		told, sent := s.Collect(nil), time.Now()
		time.Sleep(2 * time.Millisecond)
		s.Settle(told[0], sent, Answer{Debt: 10_000 * time.Second, Granted: 1})
		time.Sleep(time.Millisecond)
		if told[0].Asked != 2 || admitted.Load() != 1 {
			t.Errorf("%d asked, %d admitted", told[0].Asked, admitted.Load())
		}
	})
}
