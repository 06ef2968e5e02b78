package limiter

import (
	"net/netip"
	"testing"
	"time"
)

// TestShareBurstWithinCredit has an idle client spend more than its threshold, slower than the center answers.
func TestShareBurstWithinCredit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(200 * time.Microsecond)
		l := c.instance(t, 2)
		l.grant(client("192.0.2.1"), Terms{Limit: Limit{1600, 1}}, full) // 100 of credit
		time.Sleep(30 * time.Millisecond)
		if got := spend(l, "192.0.2.1", 150); got != 150 || l.share.Counters().Waits != 0 {
			t.Errorf("%d admitted, %+v, %d heard", got, l.share.Counters(), len(c.heard()))
		}
	})
}

// TestShareDeletedClient has a client that spent its limit be deleted at all instances.
func TestShareDeletedClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCenter(time.Millisecond)
		var all []*Limiter
		id, limit := client("192.0.2.1"), Limit{100, 0.1}
		for range 8 {
			l := c.instance(t, 8)
			l.setDefault(Default{Limit: limit}, func() int64 { return l.since(time.Now()) })
			l.grant(id, Terms{Limit: limit}, full)
			all = append(all, l)
		}
		for _, l := range all { // as heard of the others
			b, now := l.current(id), l.since(time.Now())
			raise(&b.state, b.plan.rates.at(now)+b.plan.rates.full)
			l.Delete(id)
		}
		time.Sleep(30 * time.Second)
		for _, l := range all {
			spend(l, "192.0.2.1", 1)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if b := c.buckets["default:192.0.2.1"]; b == nil || time.Until(b.tat) > 1020*time.Second {
			t.Errorf("the center knows of a debt of %v", time.Until(b.tat))
		}
	})
}

// TestShareAwayFields has a client wait, while the center is away, for as long as the last admitted
// request was told, and for a capacity below the number of instances.
func TestShareAwayFields(t *testing.T) {
	for _, limit := range []Limit{{40, 4}, {41, 4}, {3, 0.5}} {
		inBubble(t, func(t *testing.T) {
			l := newCenter(time.Millisecond).instance(t, 4)
			l.grant(client("192.0.2.1"), Terms{Limit: limit}, full)
			l.share.Leave()
			time.Sleep(time.Millisecond) // a limiter has no moment 0
			ask := func() Decision { return l.ask(l.Identify(netip.MustParseAddr("192.0.2.1"), nil), time.Now()) }
			for range 20 {
				d := ask()
				for d.Allowed && d.Remaining > 0 {
					d = ask()
				}
				if !d.Allowed {
					t.Fatalf("%v: %+v, in spite of what was announced before", limit, d)
				}
				time.Sleep(d.Reset - time.Millisecond)
				if early := ask(); early.Allowed {
					t.Errorf("%v: admitted before the time that was announced: %+v", limit, d)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}
