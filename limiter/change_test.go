package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCarry(t *testing.T) {
	small, large := Limit{100, 10}, Limit{200, 10}
	type change struct {
		spend     int64 // tokens taken before the change
		wait      time.Duration
		to        Limit
		remaining int64 // right after the change
	}
	tests := []struct {
		name    string
		from    Limit
		changes []change
	}{
		{"full stays full", small, []change{{0, 0, large, 200}, {0, 0, small, 100}}},
		{"spent stays spent", small, []change{{60, 0, large, 140}}},
		{"empty widens by the difference", small, []change{{100, 0, large, 100}}},
		{"narrowed below what is spent", large, []change{{150, 0, small, 0}}},
		{"narrowed above what is spent", large, []change{{30, 0, small, 70}}},
		{"forgiven once, not granted twice", large, []change{{200, 0, small, 0}, {0, 0, large, 0}, {0, 0, small, 0}, {0, 0, large, 0}}},
		{"forgiven, and half of it paid back by a full bucket", large, []change{{200, 0, small, 0}, {0, 15 * time.Second, large, 150}}},
		{"widened in two steps", large, []change{{200, 0, small, 0}, {0, 0, Limit{150, 10}, 0}, {0, 0, Limit{300, 10}, 100}}},
		{"another rate", small, []change{{60, 0, Limit{100, 0.001}, 40}, {0, 0, Limit{100, 1e9}, 40}}},
		{"huge to tiny and back", Limit{1e9, 1e9}, []change{{1e9, 0, Limit{1, 1e-6}, 0}, {0, 0, Limit{1e9, 1e9}, 0}}},
		{"refilled in between", small, []change{{100, 3 * time.Second, large, 130}, {0, 7 * time.Second, large, 200}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := int64(time.Hour)
			r := prepare(tt.from)
			tat, owed := r.at(now), int64(0)
			for i, c := range tt.changes {
				tat += r.ticks(c.spend)
				now += int64(c.wait)
				to := prepare(c.to)
				tat, owed = carry(&r, tat, owed, now, &to)
				r = to
				if got := (r.at(now) + r.ticks(r.capacity) - tat) >> r.shift; got != c.remaining {
					t.Fatalf("change %d: %d tokens remain, want %d", i, got, c.remaining)
				}
			}
		})
	}
}

// No sequence of changes gives any window more than the largest capacity and the refill.
func TestChangesGrantNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Limit {
			return Limit{rapid.Int64Range(1, 40).Draw(t, "capacity"), rapid.Float64Range(1, 2000).Draw(t, "rate")}
		}), 2, 4).Draw(t, "plans")
		plan := plans[0]
		r := prepare(plan)
		var tat, owed, now int64
		// debt is what a bucket of the largest capacity, never clamped, would lack.
		var debt, largest float64
		for _, p := range plans {
			largest = max(largest, float64(p.Capacity))
		}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			pause := rapid.Int64Range(0, 30e6).Draw(t, "pause")
			now += pause
			debt = max(0, debt-plan.RatePerSecond*float64(pause)/1e9)
			for range rapid.IntRange(0, 60).Draw(t, "requests") {
				o := take(tat, now, &r)
				if tat = o.tat; o.allowed {
					debt++
				}
			}
			if debt > largest+1e-6 {
				t.Fatalf("%v tokens more than the refill, want at most %v", debt, largest)
			}
			plan = rapid.SampledFrom(plans).Draw(t, "plan")
			to := prepare(plan)
			tat, owed = carry(&r, tat, owed, now, &to)
			r = to
		}
	})
}

// Changes of the rate take nothing away either: a thousand in a second, half of it at each rate.
func TestChangesCostNothing(t *testing.T) {
	slow, fast := Limit{10, 1000}, Limit{10, 3000}
	from, to := prepare(slow), prepare(fast)
	var tat, owed, now int64
	got := -slow.Capacity // the burst
	for range 1000 {
		for range 100 {
			now += 10_000
			for o := take(tat, now, &from); o.allowed; o = take(tat, now, &from) {
				tat = o.tat
				got++
			}
		}
		tat, owed = carry(&from, tat, owed, now, &to)
		from, to = to, from
	}
	if got < 1999 || got > 2000 {
		t.Errorf("%d tokens in a second at 2000 on average", got)
	}
	if owed != 0 {
		t.Errorf("%d tokens owed, though the capacity never changed", owed)
	}
}

// A change that has read its time before others used the bucket up forgives nothing of what they
// took, however far it is behind.
func TestLateChangesGrantNothing(t *testing.T) {
	for _, to := range []Limit{{1000, 1e6}, {1000, 10}, {10, 1e6}} {
		for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
			l := newLimiter()
			ask := func() bool { return l.take(l.by("192.0.2.1", "the key of acme"), t0).Allowed }
			l.grant(id, Terms{Limit: Limit{1000, 1e6}}, t0)
			for ask() {
			}
			for range 3 {
				l.grant(id, Terms{Limit: to}, t0-1e6)
				if ask() {
					t.Errorf("%s: a token of an empty bucket, after a change to %v", id, to)
				}
				l.delete(id, t0-1e6)
				l.grant(id, Terms{Limit: Limit{1000, 1e6}}, t0-1e6)
				if ask() {
					t.Errorf("%s: a token of an empty bucket, deleted and created", id)
				}
			}
		}
	}
}

// A change that has to wait for another takes effect when its turn has come.
func TestChangeThatWaits(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.registerNow(id.Prefix, Limit{100, 10})
	l.registering.Lock()
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		l.Set(Registration{ID: id, Terms: Terms{Limit: Limit{50, 1e5}}})
	}()
	time.Sleep(20 * time.Millisecond) // for the change to begin; too short a time hides a fault, and causes none
	now := l.since(time.Now())
	for range 80 {
		l.take(l.by("192.0.2.1", ""), now)
	}
	l.registering.Unlock()
	<-changed
	if got, _ := l.takeAll("192.0.2.1", now); got > 20 {
		t.Errorf("80 and %d tokens at one moment, want 100 at most", got)
	}
}
