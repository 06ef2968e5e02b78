package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withDefault returns a limiter with this default limit.
func withDefault(l Limit, maxTracked int) *Limiter {
	cfg := DefaultConfig()
	cfg.Default.Limit, cfg.MaxTracked = l, maxTracked
	return New(cfg)
}

// setDefaultAt changes the default limit at the moment, in nanoseconds.
func (l *Limiter) setDefaultAt(limit Limit, now int64) {
	l.setDefault(Default{Limit: limit}, func() int64 { return now })
}

func TestSetDefault(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to Limit
		spent    int
		pause    time.Duration // between the last request and the change
		left     int           // tokens after the change
		wait     time.Duration // for one more once these are spent
	}{
		{"equal", Limit{100, 10}, Limit{100, 10}, 30, 0, 70, 100 * time.Millisecond},
		{"a larger capacity", Limit{100, 10}, Limit{200, 10}, 30, 0, 170, 100 * time.Millisecond},
		{"a larger capacity, nothing left", Limit{100, 10}, Limit{101, 10}, 100, 0, 1, 100 * time.Millisecond},
		{"a smaller capacity", Limit{100, 10}, Limit{50, 10}, 30, 0, 20, 100 * time.Millisecond},
		{"a smaller capacity, all of it spent", Limit{100, 10}, Limit{50, 10}, 50, 0, 0, 100 * time.Millisecond},
		{"a smaller capacity, more than it spent", Limit{100, 10}, Limit{50, 10}, 80, 0, 0, 100 * time.Millisecond},
		{"a smaller capacity, half a token more than it spent", Limit{100, 10}, Limit{50, 10}, 51, 50 * time.Millisecond, 0, 100 * time.Millisecond},
		{"a higher rate", Limit{100, 10}, Limit{100, 1000}, 100, 0, 0, time.Millisecond},
		{"a higher rate, after a refill", Limit{100, 10}, Limit{100, 1000}, 30, time.Second, 80, time.Millisecond},
		{"a higher rate, in the middle of a token", Limit{100, 10}, Limit{100, 1000}, 30, 1050 * time.Millisecond, 80, time.Millisecond / 2},
		{"a lower rate", Limit{100, 10}, Limit{100, 0.1}, 30, 0, 70, 10 * time.Second},
		{"a lower rate, after a refill", Limit{100, 10}, Limit{100, 0.1}, 30, time.Second, 80, 10 * time.Second},
		{"the largest rate to a tiny one", Limit{maxCapacity, 1e9}, Limit{2, 1e-6}, 1, 0, 1, 1e15},
		{"a tiny rate to the largest", Limit{2, 1e-6}, Limit{20, 1e9}, 2, 0, 18, 1},
		{"full", Limit{100, 10}, Limit{50, 20}, 30, time.Minute, 50, 50 * time.Millisecond},
	} {
		// With one place, the client has a shared bucket: another is in debt.
		for _, places := range []int{1, 1000} {
			l := withDefault(tt.from, places)
			if places == 1 {
				l.take(l.by("192.0.2.2", ""), t0+int64(tt.pause))
			}
			c := l.by("192.0.2.1", "")
			for range tt.spent {
				l.take(c, t0)
			}
			now := t0 + int64(tt.pause)
			l.setDefaultAt(tt.to, now)
			left, last := l.takeAll("192.0.2.1", now)
			if left != tt.left || last.RetryAfter != tt.wait || last.Capacity != tt.to.Capacity {
				t.Errorf("%s, %d places: %d tokens, then %+v; want %d, then a wait of %v", tt.name, places, left, last, tt.left, tt.wait)
			}
			l.anonymous.Load().atRest(t)
		}
	}
}

// What a smaller capacity forgives does not come back as a debt.
func TestForgivenByDefault(t *testing.T) {
	l := withDefault(Limit{100, 10}, 1000)
	for range 80 {
		l.take(l.by("192.0.2.1", ""), t0)
	}
	l.setDefaultAt(Limit{50, 10}, t0)
	l.setDefaultAt(Limit{100, 10}, t0)
	if got, _ := l.takeAll("192.0.2.1", t0); got != 50 {
		t.Errorf("%d tokens, want the 50 that 50 of 100 leave", got)
	}
}

// A change of shadow moves nothing, and one with a change of the limit takes effect with it.
func TestSetDefaultShadow(t *testing.T) {
	l := withDefault(Limit{2, 1}, 1000)
	clock := func() int64 { return t0 }
	ask := func() Decision { return l.take(l.by("192.0.2.1", ""), t0) }
	ask()
	ask()
	before := l.anonymous.Load()
	l.setDefault(Default{Limit: Limit{2, 1}, Shadow: true}, clock)
	if d := ask(); !d.Allowed || !d.Shadow || d.Exceeded != Rate {
		t.Errorf("in shadow mode: %+v", d)
	}
	if all := l.limited(1, t0); len(all) != 1 || !all[0].Shadow {
		t.Errorf("in shadow mode: %+v", all)
	}
	l.setDefault(Default{Limit: Limit{2, 1}, Shadow: false}, clock)
	if d := ask(); d.Allowed || d.Shadow {
		t.Errorf("without: %+v", d)
	}
	if l.anonymous.Load() != before {
		t.Error("the table was replaced")
	}
	l.setDefault(Default{Limit: Limit{3, 1}, Shadow: true}, clock)
	if d := ask(); !d.Allowed || !d.Shadow || d.Exceeded != Nothing || d.Capacity != 3 {
		t.Errorf("in shadow mode, with a token more: %+v", d)
	}
	if d := ask(); !d.Allowed || d.Exceeded != Rate {
		t.Errorf("in shadow mode, with no token: %+v", d)
	}
}

// A bucket that was full before the change was so for requests that began before it, too.
func TestSetDefaultIsNoDebt(t *testing.T) {
	l := withDefault(Limit{1, 1000}, 1000)
	l.take(l.by("192.0.2.1", ""), t0)
	l.setDefaultAt(Limit{1, 500}, t0+10e6)
	if d := l.take(l.by("192.0.2.1", ""), t0+1e6); !d.Allowed {
		t.Errorf("%+v, want the token that was there", d)
	}
}

// The clock is read when the group is closed. With an earlier time, what was spent since would be
// refilled at the new rate.
func TestSetDefaultClock(t *testing.T) {
	l := withDefault(Limit{100, 10}, 1000)
	c := l.by("192.0.2.1", "")
	l.take(c, t0-1e9)
	got, calls, late := 0, 0, false
	l.setDefault(Default{Limit: Limit{50, 100}}, func() int64 {
		if late { // one of the requests below moves the group
			return t0 + 10e9
		}
		if calls++; calls == 1+overflowBuckets+1 { // that for the group: the goroutine is then held up
			late = true
			for range 80 {
				if l.take(c, t0+10e9).Allowed {
					got++
				}
			}
			late = false
		}
		return t0
	})
	left, _ := l.takeAll("192.0.2.1", t0+10e9)
	if got == 0 || got+left > 100 {
		t.Errorf("%d and %d tokens at one moment", got, left)
	}
}

// A debt that a table remembers otherwise than in a client's own bucket is carried over too.
func TestSetDefaultCarriesStarts(t *testing.T) {
	l := withDefault(Limit{2, 1}, clientsPerGroup)
	l.takeAll("192.0.2.1", t0)
	for i := range clientsPerGroup { // drop the client
		l.take(l.Identify(ipv4(i), nil), t0+2e9)
	}
	l.setDefaultAt(Limit{2, 3}, t0+3e9)
	if l.take(l.by("192.0.2.1", ""), t0).Allowed {
		t.Error("a third token at a time when there were two")
	}
}

// A client that has a place, and whose bucket is not open yet, opens it with the debt of its shared
// bucket, whether that has moved or not.
func TestSetDefaultBeforeOpening(t *testing.T) {
	l := withDefault(Limit{10, 1}, 1)
	tab, k := l.anonymous.Load(), key(l.by("192.0.2.1", "").hash)
	debt := tab.rates.at(t0) + tab.rates.ticks(7)
	raise(tab.shared(k), debt)
	tab.shared(k).Or(closed)
	if got := tab.peek(k); got != debt {
		t.Errorf("would open with %d, want %d", got, debt)
	}
	c, _ := tab.current(0).find(k)
	tab.claim(c, k)
	l.setDefaultAt(Limit{20, 2}, t0)
	if got, _ := l.takeAll("192.0.2.1", t0); got != 13 {
		t.Errorf("%d tokens, want 13", got)
	}
}

// Registered clients keep their limits, and what passes between them and the default limit passes
// at its new rates.
func TestSetDefaultAndRegistered(t *testing.T) {
	l := withDefault(Limit{10, 1}, 1000)
	limit := Terms{Limit: Limit{100, 1}}
	steady, gone, wide := client("192.0.2.1"), client("192.0.2.2"), client("198.51.100.0/24")
	for _, id := range []ID{steady, gone, wide} {
		l.grant(id, limit, t0)
	}
	spend := func(addr string, n int) {
		for range n {
			l.take(l.by(addr, ""), t0)
		}
	}
	spend("192.0.2.1", 7)
	spend("192.0.2.2", 7)
	spend("198.51.100.1", 8)
	spend("203.0.113.1", 9)
	l.delete(gone, t0)
	l.delete(wide, t0)
	l.setDefaultAt(Limit{20, 1000}, t0)
	l.grant(client("203.0.113.1"), limit, t0)
	for addr, want := range map[string]int{
		"192.0.2.1": 93, "203.0.113.1": 91, // registered
		"192.0.2.2": 13, "198.51.100.1": 12, "198.51.100.2": 12, "203.0.113.2": 20, // not
	} {
		if got, _ := l.takeAll(addr, t0); got != want {
			t.Errorf("%s: %d tokens, want %d", addr, got, want)
		}
	}
	l.setDefaultAt(Limit{20, 10}, t0+1e9) // all debts of deleted clients are paid
	if l.anonymous.Load().floors.Load() != nil {
		t.Error("floors without effect are kept")
	}
}

// While the default changes a thousand times nothing is refilled: at a moment that does not pass,
// each client gets the largest capacity and not a token more, or less if it has to share a bucket.
func TestSetDefaultRefillsNothing(t *testing.T) {
	const workers, clients, capacity = 8, 200, 60
	changes := 1000
	if raceEnabled {
		changes = 200
	}
	for _, places := range []int{1, 40, 10_000} {
		l := withDefault(Limit{10, 1e-3}, places)
		var given [clients]atomic.Int64
		var done atomic.Bool
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				ask := func(i int) bool {
					allowed := l.take(l.Identify(ipv4(i), nil), t0).Allowed
					if allowed {
						given[i].Add(1)
					}
					return allowed
				}
				for !done.Load() {
					ask(rand.IntN(clients))
				}
				for i := range clients {
					for ask(i) {
					}
				}
			})
		}
		for i := range changes {
			l.setDefaultAt(Limit{10 + int64(i*(capacity-10)/(changes-1)), []float64{1e-3, 3e-3, 1e-4}[i%3]}, t0)
		}
		done.Store(true)
		all.Wait()
		for i := range given {
			if got := given[i].Load(); got > capacity || got < capacity && places > clients {
				t.Errorf("%d places: %d tokens for client %d, want %d", places, got, i, capacity)
			}
		}
		l.anonymous.Load().atRest(t)
	}
}

// defaultRun is eight goroutines that take what a hot client can have, amid others, while the
// default limit changes.
type defaultRun struct {
	l     *Limiter
	clock atomic.Int64
	done  atomic.Bool
	hot   []int64 // moments of the requests of the hot client that were admitted
}

func runDefaults(l *Limiter, change func(r *defaultRun)) *defaultRun {
	const workers, step, others = 8, 200, 300
	r := &defaultRun{l: l}
	r.clock.Store(t0)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			var mine []int64
			for !r.done.Load() {
				now := r.clock.Add(step)
				i := rand.IntN(others)
				if i < others/2 {
					i = 0
				}
				if l.take(l.Identify(ipv4(i), nil), now).Allowed && i == 0 {
					mine = append(mine, now)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			r.hot = append(r.hot, mine...)
		})
	}
	change(r)
	r.done.Store(true)
	all.Wait()
	return r
}

// No window that spans a change sees more than the larger capacity and its refill.
func TestSetDefaultAndEveryWindow(t *testing.T) {
	rounds := 30
	if raceEnabled {
		rounds = 10
	}
	for i := range rounds {
		from, to := Limit{1000, 1e5}, Limit{400, 1e5}
		larger := from
		if i%2 == 1 {
			from, to = to, from
		}
		l := withDefault(from, []int{1, 50, 10_000}[i%3])
		r := runDefaults(l, func(r *defaultRun) {
			for r.clock.Load() < t0+2e6 {
				time.Sleep(10 * time.Microsecond)
			}
			l.setDefault(Default{Limit: to}, r.clock.Load)
			for end := r.clock.Load() + 2e6; r.clock.Load() < end; {
				time.Sleep(10 * time.Microsecond)
			}
		})
		larger.keeps(t, r.hot)
		l.anonymous.Load().atRest(t)
	}
}

// A thousand changes of the rate add up to nothing: the hot client gets its capacity, and the
// refill at the rate of the time.
func TestSetDefaultCostsNothing(t *testing.T) {
	changes := 1000
	if raceEnabled {
		changes = 200
	}
	rates := []float64{1e5, 4e5}
	l := withDefault(Limit{100, rates[0]}, 10_000)
	most, least := 100.0, 100.0
	r := runDefaults(l, func(r *defaultRun) {
		since := t0
		for i := range changes {
			r.clock.Add(20_000)
			old, limit := rates[i%2], Limit{100, rates[(i+1)%2]}
			before := r.clock.Load()
			l.setDefault(Default{Limit: limit}, r.clock.Load)
			after := r.clock.Load()
			most += old*float64(before-since)/1e9 + rates[1]*float64(after-before)/1e9
			least += old*float64(before-since)/1e9 + rates[0]*float64(after-before)/1e9
			since = after
		}
		r.done.Store(true)
		most += rates[1] * float64(r.clock.Load()+8*200-since) / 1e9
	})
	got := float64(len(r.hot))
	t.Logf("%v tokens, entitled to between %.0f and %.0f", got, least, most)
	if got > most {
		t.Errorf("%v tokens, want at most %.1f", got, most)
	}
	if got < 0.95*least-100 {
		t.Errorf("%v tokens, want nearly %.1f", got, least)
	}
}

// After a change the table takes as much memory as before.
func TestSetDefaultMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector")
	}
	const clients = 300_000
	l := withDefault(Limit{1000, 1}, clients)
	for i := range clients {
		l.take(l.Identify(ipv4(i), nil), t0)
	}
	before := heapBytes()
	for _, rate := range []float64{2, 1, 3} {
		l.setDefaultAt(Limit{1000, rate}, t0)
	}
	if grown := heapBytes() - before; grown > clients/10 {
		t.Errorf("%d bytes more for %d clients", grown, clients)
	}
	if l.Tracked() != clients {
		t.Errorf("%d tracked, want %d", l.Tracked(), clients)
	}
	if d := l.take(l.Identify(ipv4(7), nil), t0); d.Remaining != 998 {
		t.Errorf("%+v, want 998 of 1000 left", d)
	}
}

func BenchmarkSetDefault(b *testing.B) {
	const clients = 1_000_000
	l := withDefault(Limit{1000, 1}, clients)
	for i := range clients {
		l.take(l.Identify(ipv4(i), nil), t0)
	}
	limits := []Limit{{1000, 2}, {2000, 1}}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		l.setDefaultAt(limits[i%2], t0)
		i++
	}
	if n := l.Tracked(); n < clients*99/100 {
		b.Fatalf("%d tracked", n)
	}
}
