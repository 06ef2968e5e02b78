package limiter

import (
	"net/netip"
	"testing"
	"time"
)

// TestShareBurstWithinCredit has an idle client spend more than its threshold, slower than the center
// answers.
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

// TestShareExtremes has the largest limits, the slowest and the most instances, 16 years after the
// start.
func TestShareExtremes(t *testing.T) {
	now := int64(16 * 365 * 24 * time.Hour)
	for _, limit := range []Limit{{1, 1e-6}, {2, 1e-6}, {maxCapacity, 1e9}, {maxCapacity, maxCapacity / maxRefill * 1.01}, {1, 1e9}} {
		r := prepare(limit)
		for _, instances := range []int64{1, 2, 1000, 1 << 40} {
			tat := r.at(now) + r.full/2
			for range 5 {
				o, next := takeWeighed(tat, now, &r, instances)
				var d Decision
				r.describe(o, &d)
				if o.allowed != d.Allowed || next < tat || d.Remaining < 0 || d.Remaining > limit.Capacity || d.Reset <= 0 || d.RetryAfter < 0 {
					t.Errorf("%v, %d instances: %+v, %+v, %d", limit, instances, o, d, next)
				}
				if tat = next; !o.allowed {
					break
				}
			}
		}
		l := New(Config{Default: Default{Limit: limit}, IPv6Prefix: 64, MaxTracked: 10})
		s := l.Share(time.Millisecond)
		c := l.Identify(netip.MustParseAddr("192.0.2.1"), nil)
		f := &fleet{instances: 2}
		x := s.openCell(party{nil, 1}, l.anonymous.Load(), &c, r.full/2, f)
		before := x.untold()
		if before < 0 || x.reserve(maxUntold) != passes || x.took(true) != before+1 || x.untold() != before+1 {
			t.Errorf("%v: %d untold, then %d", limit, before, x.untold())
		}
	}
}
