package limiter

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A blocked client gets nothing, exempt or in shadow mode though it may be, and loses nothing.
func TestBlocked(t *testing.T) {
	for _, terms := range []Terms{
		{Limit: Limit{5, 1}, Blocked: true},
		{Limit: Limit{5, 1}, Blocked: true, Shadow: true},
		{Limit: Limit{5, 1}, Blocked: true, MaxInFlight: 1},
		{Limit: Limit{5, 1}, Blocked: true, Trial: Limit{1, 1}},
	} {
		for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
			l := newLimiter()
			ask := func() (d Decision) { return l.take(l.by("192.0.2.1", "the key of acme"), t0) }
			open := terms
			open.Blocked = false
			l.grant(id, open, t0)
			ask()
			found := l.by("192.0.2.1", "the key of acme")
			l.grant(id, terms, t0)
			var d Decision
			for range 3 {
				if lease := l.admit(found, t0+2e9, &d); d != (Decision{Exceeded: Blocked}) || lease != (Lease{}) {
					t.Errorf("%s, %+v: %+v, %+v", id, terms, d, lease)
				}
				if lease := l.admitExempt(found, t0+2e9, &d); d != (Decision{Exceeded: Blocked}) || lease != (Lease{}) {
					t.Errorf("%s, %+v, exempt: %+v, %+v", id, terms, d, lease)
				}
			}
			seen := l.base.Add(time.Duration(t0 + 2e9))
			if u, _ := l.usage(id, t0); u != (Usage{Tokens: 4, Allowed: 1, Blocked: 6, LastSeen: seen}) {
				t.Errorf("%s, %+v: %+v", id, terms, u)
			}
			if n := len(l.limited(10, t0)); n > 0 {
				t.Errorf("%s: %d clients are limited, where one is blocked", id, n)
			}
			l.grant(id, open, t0)
			if d = ask(); !d.Allowed || d.Remaining != 3 {
				t.Errorf("%s, no longer blocked: %+v", id, d)
			}
			l.Reset(id)
			if u, _ := l.usage(id, t0); u.Blocked != 0 {
				t.Errorf("%s: %+v after the reset", id, u)
			}
		}
	}
}

// Requests in flight when their client is blocked go on, and end. A request that has entered is not
// counted as allowed if the client is blocked before it is decided.
func TestBlockedInFlight(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	terms := Terms{Limit: Limit{5, 1}, MaxInFlight: 1}
	l.grant(id, terms, t0)
	var d Decision
	lease := l.admit(l.by("192.0.2.1", ""), t0, &d)
	b := l.by("192.0.2.1", "").bucket
	l.grant(id, Terms{Limit: Limit{5, 1}, Blocked: true}, t0)
	if u, _ := l.usage(id, t0); u.InFlight != 1 || u.Allowed != 1 {
		t.Errorf("%+v, want one in flight", u)
	}
	lease.Release()
	in := b.account // as if it had entered before
	in.bounded.Add(1)
	if c := l.by("192.0.2.1", ""); !c.bucket.admit(&c, &in, t0, &d) || d.Exceeded != Blocked || in != nil {
		t.Errorf("%+v", d)
	}
	if u, _ := l.usage(id, t0); u.InFlight != 0 || u.Allowed != 1 || u.Blocked != 1 {
		t.Errorf("%+v, want none in flight, 1 allowed and 1 blocked", u)
	}
}

// From the moment that a client is blocked on, no request passes; all are counted.
func TestBlockedAtOnce(t *testing.T) {
	const capacity = 100_000_000
	l, id := newLimiter(), client("192.0.2.1")
	plans := []Terms{{Limit: Limit{capacity, 1e4}}, {Limit: Limit{capacity, 1e4}, Blocked: true, Shadow: true}, {Limit: Limit{capacity, 1e4}, MaxInFlight: 1, Shadow: true}}
	l.grant(id, plans[0], t0)
	var wg sync.WaitGroup
	var done atomic.Bool
	var passed, blocked, limited, watched atomic.Int64
	var changes atomic.Int64 // odd while the client is blocked
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				before := changes.Load()
				d := l.take(l.by("192.0.2.1", ""), t0)
				switch {
				case d.Exceeded == Blocked:
					blocked.Add(1)
				case d.Exceeded != Nothing:
					limited.Add(1)
				default:
					passed.Add(1)
				}
				if before%2 == 1 && changes.Load() == before {
					if watched.Add(1); d.Exceeded != Blocked {
						t.Errorf("%+v of a blocked client", d)
					}
				}
			}
		})
	}
	rounds := 50
	if *long {
		rounds = 5000
	}
	for i := range rounds {
		l.grant(id, plans[1], t0)
		changes.Add(1)
		for n := watched.Load(); watched.Load() == n; {
			runtime.Gosched()
		}
		changes.Add(1)
		l.grant(id, plans[i%2*2], t0)
	}
	done.Store(true)
	wg.Wait()
	u, _ := l.usage(id, t0)
	if u.Blocked != blocked.Load() || u.Allowed != passed.Load() || u.ShadowLimited != limited.Load() || u.InFlight != 0 {
		t.Errorf("%+v, want %d allowed, %d in shadow, %d blocked", u, passed.Load(), limited.Load(), blocked.Load())
	}
	if int64(u.Tokens) != capacity-u.Allowed {
		t.Errorf("%v tokens after %d allowed", u.Tokens, u.Allowed)
	}
}
