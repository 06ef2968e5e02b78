package limiter

import (
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var allowed = Decision{Allowed: true}

// An exempt request is in flight, and that is all that is known of it.
func TestExempt(t *testing.T) {
	limit := Limit{1, 0.001}
	for _, terms := range []Terms{
		{Limit: limit}, {Limit: limit, MaxInFlight: 5}, {Limit: limit, Shadow: true}, {Limit: limit, Trial: limit},
	} {
		for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
			l := newLimiter()
			l.grant(id, terms, t0)
			var d Decision
			lease := l.admitExempt(l.by("192.0.2.1", "the key of acme"), t0, &d)
			if u, _ := l.usage(id, t0); d != allowed || u != (Usage{Tokens: 1, InFlight: 1}) {
				t.Errorf("%s with %+v: %+v, then %+v", id, terms, d, u)
			}
			lease.Release()
			for range 3 {
				l.admitExempt(l.by("192.0.2.1", "the key of acme"), t0, &d).Release()
			}
			if u, _ := l.usage(id, t0); d != allowed || u != (Usage{Tokens: 1}) {
				t.Errorf("%s with %+v: %+v, and %+v at the end", id, terms, d, u)
			}
			if d := l.take(l.by("192.0.2.1", "the key of acme"), t0); !d.Allowed || d.Exceeded != Nothing {
				t.Errorf("%s with %+v: then %+v", id, terms, d)
			}
		}
	}
}

func TestExemptOfOthers(t *testing.T) {
	l := newLimiter()
	for _, c := range []Client{l.by("192.0.2.1", ""), l.by("2001:db8::1", "a key"), l.Identify(netip.Addr{}, nil)} {
		for range 100 {
			var d Decision
			if lease := l.admitExempt(c, t0, &d); d != allowed || lease != (Lease{}) {
				t.Fatalf("%+v with %+v", d, lease)
			}
		}
	}
	if l.Tracked() != 0 {
		t.Errorf("%d clients tracked, want none", l.Tracked())
	}
}

// Exempt requests and others share the bound.
func TestExemptIsBounded(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 2}, t0)
	var d Decision
	first := l.admit(l.by("192.0.2.1", ""), t0, &d)
	l.admitExempt(l.by("192.0.2.1", ""), t0, &d)
	if l.take(l.by("192.0.2.1", ""), t0).Exceeded != InFlight {
		t.Error("two are in flight, one of them exempt, and a third is let through")
	}
	refused := Decision{Exceeded: InFlight, RetryAfter: time.Second}
	if lease := l.admitExempt(l.by("192.0.2.1", ""), t0, &d); d != refused || lease != (Lease{}) {
		t.Errorf("two are in flight, and an exempt request gets %+v with %+v, want %+v", d, lease, refused)
	}
	if u, _ := l.usage(id, t0); u.Allowed != 1 || u.Limited != 1 || u.InFlight != 2 {
		t.Errorf("%+v, want one allowed, one limited and two in flight", u)
	}
	if got, want := l.limited(9, t0), []Limited{{"192.0.2.1", true, false, 2, Limit{100, 1}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v are limited, want %+v", got, want)
	}
	first.Release()
	if l.admitExempt(l.by("192.0.2.1", ""), t0, &d); d != allowed {
		t.Errorf("one is in flight, and an exempt request gets %+v", d)
	}
}

// In shadow mode an exempt request beyond the bound passes, takes no place and is not counted.
func TestExemptInShadowMode(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{100, 1}, MaxInFlight: 1, Shadow: true}, t0)
	var d Decision
	first := l.admit(l.by("192.0.2.1", ""), t0, &d)
	second := l.admitExempt(l.by("192.0.2.1", ""), t0, &d)
	if u, _ := l.usage(id, t0); d != allowed || u.InFlight != 2 || u.ShadowLimited != 0 {
		t.Errorf("%+v, then %+v", d, u)
	}
	first.Release()
	if d := l.take(l.by("192.0.2.1", ""), t0); d.Exceeded != Nothing {
		t.Errorf("with none but that in flight: %+v", d)
	}
	second.Release()
	if u, _ := l.usage(id, t0); u.InFlight != 0 || len(l.limited(9, t0)) != 0 {
		t.Errorf("at the end: %+v, and %+v limited", u, l.limited(9, t0))
	}
}

// What an exempt request has found may be another's, or closed, before it enters.
func TestExemptOutlivesWhatItFound(t *testing.T) {
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		for _, bound := range []int64{0, 1} {
			terms := Terms{Limit: Limit{50, 1}, MaxInFlight: bound}
			for name, meanwhile := range map[string]func(*Limiter){
				"set":                 func(l *Limiter) { l.grant(id, terms, t0) },
				"deleted":             func(l *Limiter) { l.delete(id, t0) },
				"deleted and created": func(l *Limiter) { l.delete(id, t0); l.grant(id, terms, t0) },
				"reset":               func(l *Limiter) { l.Reset(id) },
			} {
				l := newLimiter()
				l.grant(id, Terms{Limit: Limit{100, 1}}, t0)
				c := l.by("192.0.2.1", "the key of acme")
				meanwhile(l)
				var d Decision
				lease := l.admitExempt(c, t0, &d)
				want := Usage{}
				if lease != (Lease{}) {
					want.InFlight = 1
				}
				u, known := l.usage(id, t0)
				if u.Tokens = 0; d != allowed || u != want || known && id.Name == "" && want.InFlight != 1 {
					t.Errorf("%s, bound %d, %s: %+v by %+v", id, bound, name, u, d)
				}
				lease.Release()
				if u, _ := l.usage(id, t0); u.InFlight != 0 || u.Allowed != 0 {
					t.Errorf("%s, bound %d, %s: %+v at the end", id, bound, name, u)
				}
			}
		}
	}
}

// Half of the requests are exempt. Whatever the terms become meanwhile, no more are in flight than
// may be, and none is forgotten.
func TestExemptAtOnce(t *testing.T) {
	const most, workers = 3, 8
	l, id := newLimiter(), client("192.0.2.1")
	terms := Terms{Limit: Limit{1e9, 1e9}, MaxInFlight: most}
	l.grant(id, terms, t0)
	var inside, taken atomic.Int64
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for n := range 5000 {
				admit := l.AdmitExempt
				if (i+n)%2 == 0 {
					admit = l.Admit
				}
				var d Decision
				lease := admit(l.by("192.0.2.1", ""), time.Now(), &d)
				if !d.Allowed {
					continue
				}
				if n := inside.Add(1); n > most {
					t.Errorf("%d in flight", n)
				}
				if (i+n)%2 == 0 {
					taken.Add(1)
				}
				inside.Add(-1)
				lease.Release()
			}
		})
	}
	for capacity := range int64(200) {
		terms.Capacity = 1e9 + capacity
		l.Set(Registration{ID: id, Terms: terms})
	}
	all.Wait()
	if u, _ := l.Usage(id); u.InFlight != 0 || u.Allowed != taken.Load() {
		t.Errorf("%+v at the end, want %d allowed", u, taken.Load())
	}
}
