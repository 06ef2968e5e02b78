package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// Whatever is done to clients at once, no count is ever impossible, and when all requests have
// ended none is in flight. A client of which only the trial changes, and whose bucket moves all the
// time, spends exactly the tokens it was given, and never has more in flight than its bound.
func TestEverythingAtOnce(t *testing.T) {
	const capacity, bound, workers = 1_000_000_000, 2, 4
	changes := 1000
	if *long {
		changes = 30_000
	}
	l := newLimiter()
	steady := client("198.51.100.1")
	steadily := func() {
		l.grant(steady, Terms{Limit: Limit{capacity, 1000}, MaxInFlight: bound, Trial: Limit{rand.Int64N(3) + 1, 1}}, t0)
	}
	steadily()

	var done atomic.Bool
	var given, under atomic.Int64
	var asking, changing sync.WaitGroup
	for range workers {
		asking.Go(func() {
			var held [3]Lease
			for n := 0; !done.Load(); n++ {
				var d Decision
				if n%3 == 0 {
					lease := l.admit(l.by("198.51.100.1", ""), t0, &d)
					if d.Allowed {
						given.Add(1)
						if n := under.Add(1); n > bound {
							t.Errorf("%d in flight, of at most %d", n, bound)
						}
						under.Add(-1)
					}
					lease.Release()
					continue
				}
				held[n%3].Release()
				held[n%3] = l.admit(l.by(anyOf("192.0.2.1", "192.0.2.2", "192.0.3.1"), anyOf("", "key 1", "key 2", "key 3")), t0, &d)
			}
			for i := range held {
				held[i].Release()
			}
		})
	}
	ids := []ID{client("192.0.2.1"), client("192.0.2.2"), client("192.0.2.0/24"), client("192.0.0.0/16"), {Name: "a"}, {Name: "b"}, {Name: "c"}}
	for range 2 {
		changing.Go(func() {
			for range changes {
				id := anyOf(ids...)
				switch rand.IntN(8) {
				case 0:
					l.delete(id, t0)
				case 1:
					l.Reset(id)
				case 2:
					l.limited(10, t0)
				case 3:
					steadily()
				case 4: // neighbours, so that the tables grow
					l.grant(client(ipv4(rand.IntN(300)).String()), Terms{Limit: Limit{1, 1}}, t0)
				case 5:
					l.delete(client(ipv4(rand.IntN(300)).String()), t0)
				default:
					terms := Terms{Limit: Limit{rand.Int64N(1000) + 1, 1}, MaxInFlight: rand.Int64N(3), Shadow: rand.IntN(4) == 0}
					l.set(Registration{id, digests(anyOf("key 1", "key 2", "key 3"), anyOf("key 1", "key 2", "key 3")), terms}, t0)
				}
				if u, _ := l.usage(id, t0); u.InFlight < 0 || u.InFlight > 3*workers || u.Limited < 0 || u.ShadowLimited < 0 {
					t.Errorf("%s: %+v", id, u)
				}
			}
		})
	}
	changing.Wait()
	done.Store(true)
	asking.Wait()
	for _, id := range ids {
		if u, _ := l.usage(id, t0); u.InFlight != 0 {
			t.Errorf("%s: %+v, with nothing in flight", id, u)
		}
	}
	u, _ := l.usage(steady, t0)
	if u.Allowed != given.Load() || int64(u.Tokens) != capacity-given.Load() || u.InFlight != 0 {
		t.Errorf("%+v, want %d given, and spent of %d", u, given.Load(), capacity)
	}
}

func anyOf[T any](all ...T) T { return all[rand.IntN(len(all))] }
