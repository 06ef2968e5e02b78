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

// TestShareOvertakenAnswer has an answer from before a reset arrive after one from then.
func TestShareOvertakenAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := New(Config{Default: Default{Limit: Limit{100, 0.001}}, IPv6Prefix: 64, MaxTracked: 1000})
		s := l.Share(5 * time.Millisecond)
		s.Return(among(1))
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{800, 1}}, full)
		spend(l, "192.0.2.1", 50)
		first := s.Collect(nil)
		spend(l, "192.0.2.1", 50)
		second := s.Collect(nil)
		sent := time.Now()
		s.Settle(second[0], sent, Answer{Debt: 50 * time.Second, Resets: 1})
		s.Settle(first[0], sent, Answer{Debt: 800 * time.Second})
		if got := spend(l, "192.0.2.1", 1); got != 1 {
			t.Error("rejected for what was spent before a reset")
		}
	})
}

// TestShareTellsBoth has tokens untold from before the absence, and from within.
func TestShareTellsBoth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 10)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{8000, 0.01}}, full)
		spend(l, "192.0.2.1", 40)
		l.share.Leave()
		spend(l, "192.0.2.1", 5)
		l.share.Return(among(10))
		time.Sleep(10 * time.Millisecond)
		if told := c.heard(); len(told) != 1 || told[0].Spent != 45 || told[0].Debt > 0 {
			t.Errorf("%+v", told)
		}
	})
}

// TestShareMovedBucket has the bucket of a client move between its absence and the return.
func TestShareMovedBucket(t *testing.T) {
	for _, move := range []func(l *Limiter){
		func(l *Limiter) {
			for i := range 100 {
				l.Set(Registration{ID: client(ipv4(i).String()), Terms: Terms{Limit: Limit{10, 1}}})
			}
		},
		func(l *Limiter) {
			l.Set(Registration{ID: client("192.0.2.1"), Terms: Terms{Limit: Limit{40, 0.002}}})
		},
	} {
		inBubble(t, func(t *testing.T) {
			c := newCenter(time.Millisecond)
			l := c.instance(t, 4)
			l.grant(client("192.0.2.1"), Terms{Limit: Limit{40, 0.001}}, full)
			l.share.Leave()
			if got := spend(l, "192.0.2.1", 100); got != 10 {
				t.Errorf("%d admitted, want a quarter", got)
			}
			move(l)
			l.share.Return(among(4))
			time.Sleep(10 * time.Millisecond)
			if got := spend(l, "192.0.2.1", 40); got < 29 || got > 31 {
				t.Errorf("%d admitted: the others have let nothing through", got)
			}
		})
	}
}

// TestShareMovedTable is TestShareMovedBucket for an unregistered client and a change of the default.
func TestShareMovedTable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		l := c.instance(t, 4)
		l.share.Leave()
		if got := spend(l, "192.0.2.1", 100); got != 25 {
			t.Errorf("%d admitted, want a quarter", got)
		}
		l.SetDefault(Default{Limit: Limit{100, 0.002}})
		l.share.Return(among(4))
		time.Sleep(10 * time.Millisecond)
		if got := spend(l, "192.0.2.1", 100); got < 74 || got > 76 {
			t.Errorf("%d admitted: the others have let nothing through", got)
		}
		l.share.tallies.Range(func(_ party, x *tally) bool {
			if x.table.Load() != l.anonymous.Load() {
				t.Error("it keeps the old table")
			}
			return true
		})
	})
}
