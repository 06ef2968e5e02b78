package limiter

import (
	"maps"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Counts are restored into a new process, and go on from there.
func TestRestore(t *testing.T) {
	before := newLimiter()
	before.base = before.base.Round(0).Add(-1_000_000 * time.Second) // it has started earlier
	for _, id := range []ID{client("192.0.2.1"), client("192.0.2.0/24"), {Name: "acme"}} {
		for _, terms := range []Terms{
			{Limit: Limit{3, 1}}, {Limit: Limit{3, 1}, Shadow: true}, {Limit: Limit{3, 1}, Blocked: true}, {Limit: Limit{3, 1}, Trial: Limit{1, 1}},
		} {
			ask := func(l *Limiter) {
				for range 5 {
					l.take(l.by("192.0.2.1", "the key of acme"), t0)
				}
			}
			before.delete(id, t0+1e14)
			before.grant(id, terms, t0)
			ask(before)
			old, _ := before.usage(id, t0)
			if old.Allowed+old.Limited+old.ShadowLimited+old.Blocked != 5 {
				t.Fatalf("%s, %+v: %+v of five requests", id, terms, old)
			}

			after := newLimiter()
			if after.Restore(id, old) {
				t.Errorf("%s: restored, and not registered", id)
			}
			after.grant(id, terms, t0)
			if !after.Restore(id, old) {
				t.Fatalf("%s: not restored", id)
			}
			want := old
			want.Tokens = 3
			want.LastSeen = want.LastSeen.Round(0)
			u, _ := after.usage(id, t0)
			if u.LastSeen = u.LastSeen.Round(0); u != want {
				t.Errorf("%s, %+v: %+v, want %+v", id, terms, u, want)
			}
			ask(after)
			want = Usage{
				Tokens: old.Tokens, Allowed: 2 * old.Allowed, Limited: 2 * old.Limited, ShadowLimited: 2 * old.ShadowLimited,
				TrialLimited: 2 * old.TrialLimited, Blocked: 2 * old.Blocked, LastSeen: after.base.Add(time.Duration(t0)),
			}
			if u, _ := after.usage(id, t0); u != want {
				t.Errorf("%s, %+v, after five more: %+v, want %+v", id, terms, u, want)
			}
			after.Reset(id)
			if u, _ := after.usage(id, t0); u != (Usage{Tokens: 3, LastSeen: want.LastSeen}) {
				t.Errorf("%s, %+v, after a reset: %+v", id, terms, u)
			}
			before.delete(id, t0+1e14)
		}
	}
}

// What a client is restored with need not be what its terms lead to.
func TestRestoreOddly(t *testing.T) {
	l, id := newLimiter(), client("192.0.2.1")
	l.grant(id, Terms{Limit: Limit{3, 1}}, t0)
	seen := l.base.Add(-3 * time.Second)
	u := Usage{Allowed: 1, Limited: 2, ShadowLimited: 3, TrialLimited: 4, Blocked: 5, InFlight: 6, Tokens: 7, LastSeen: seen}
	l.Restore(id, u)
	l.Restore(id, Usage{Allowed: 1, LastSeen: seen.Add(-time.Hour)})
	if got, _ := l.usage(id, t0); got != (Usage{Allowed: 2, Limited: 2, ShadowLimited: 3, Blocked: 5, Tokens: 3, LastSeen: seen}) {
		t.Errorf("%+v", got)
	}
	l.take(l.by("192.0.2.1", ""), 1)
	if got, _ := l.usage(id, t0); !got.LastSeen.Equal(l.base) || got.Allowed != 3 {
		t.Errorf("after a request: %+v", got)
	}
	l.Restore(id, Usage{LastSeen: seen})
	if got, _ := l.usage(id, t0); !got.LastSeen.Equal(l.base) {
		t.Errorf("restored after a request: %+v", got)
	}
	l.Restore(id, Usage{LastSeen: l.base.Add(1e6 * time.Hour)})
	if got, _ := l.usage(id, t0); got.LastSeen.After(time.Now()) {
		t.Errorf("last seen in the future: %+v", got)
	}
}

func TestSecondOf(t *testing.T) {
	l := newLimiter()
	for _, tt := range []struct{ at, want time.Duration }{
		{0, 0}, {1, 0}, {time.Second - 1, 0}, {time.Second, time.Second}, {time.Hour + 1, time.Hour},
		{-1, -time.Second}, {-time.Second, -time.Second}, {-time.Second - 1, -2 * time.Second}, {-time.Hour, -time.Hour},
		{-200 * 365 * 24 * time.Hour, -(1<<31 - 1) * time.Second},
	} {
		second := secondOf(int64(tt.at))
		if got := l.timeOf(second).Sub(l.base); got != tt.want || second == 0 {
			t.Errorf("%v: second %d, which is %v, want %v", tt.at, second, got, tt.want)
		}
	}
}

// Used returns each client with a request once, and no other, though the tables grow meanwhile.
func TestUsed(t *testing.T) {
	l := newLimiter()
	want := map[ID]int64{}
	for i := range 100 {
		for _, id := range []ID{{Prefix: netip.PrefixFrom(ipv4(i), 32)}, {Prefix: netip.PrefixFrom(ipv4(1000+4*i), 30)}, {Name: "name " + strconv.Itoa(i)}} {
			l.set(Registration{id, digests("key "+id.Name, "other "+id.Name), Terms{Limit: Limit{3, 1}}}, t0)
			addr, key := id.Prefix.Addr(), ""
			if id.Name != "" {
				addr, key = ipv4(5000), []string{"key ", "other "}[i%2]+id.Name
			}
			for range i % 4 {
				l.take(l.Identify(addr, []byte(key)), t0)
			}
			if i%4 > 0 {
				want[id] = int64(i % 4)
			}
		}
	}
	for _, grow := range []bool{false, true} {
		got, n := map[ID]int64{}, 0
		for id, u := range l.Used() {
			if n++; grow && n%10 == 0 {
				for i := range 100 {
					l.grant(ID{Prefix: netip.PrefixFrom(ipv4(100_000+100*n+i), 32)}, Terms{Limit: Limit{3, 1}}, t0)
					l.giveKeys("later "+strconv.Itoa(100*n+i), 3, "later "+strconv.Itoa(100*n+i))
				}
			}
			got[id] = u.Allowed
		}
		if n != len(got) || !maps.Equal(got, want) {
			t.Errorf("grown %v: %d clients, %d different, want %d", grow, n, len(got), len(want))
		}
	}
	for range l.Used() {
		break // and the lock is free
	}
	if l.Reset(ID{Name: "name 1"}); l.Registered() < 300 {
		t.Error("not registered any more")
	}
}

// Clients that stay are each returned once, with counts that are possible, while others come and
// go, terms and keys change, and requests are admitted.
func TestUsedAtOnce(t *testing.T) {
	const stay = 50
	l := newLimiter()
	id := func(i int) ID {
		if i%2 == 0 {
			return ID{Name: "stays " + strconv.Itoa(i)}
		}
		return ID{Prefix: netip.PrefixFrom(ipv4(i), 32)}
	}
	ask := func(i int) { l.take(l.Identify(ipv4(i), []byte("the key of "+id(i).Name)), t0) }
	for i := range stay {
		l.grant(id(i), Terms{Limit: Limit{1e9, 1e3}}, t0)
		ask(i)
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	var changes atomic.Int64
	wg.Go(func() {
		for n := 0; !done.Load(); n++ {
			ask(n % stay)
		}
	})
	wg.Go(func() {
		for n := 0; !done.Load(); n++ {
			changes.Add(5)
			l.grant(id(n%stay), Terms{Limit: Limit{1e9, 1e3}, Shadow: n%3 == 0}, t0)
			l.grant(ID{Name: "comes " + strconv.Itoa(n%300)}, Terms{Limit: Limit{1, 1}}, t0)
			l.delete(ID{Name: "comes " + strconv.Itoa((n+150)%300)}, t0)
			l.grant(ID{Prefix: netip.PrefixFrom(ipv4(1000+n%300), 32)}, Terms{Limit: Limit{1, 1}}, t0)
			l.delete(ID{Prefix: netip.PrefixFrom(ipv4(1000+(n+150)%300), 32)}, t0)
		}
	})
	last := map[ID]int64{}
	for changes.Load() < 20_000 {
		seen := map[ID]bool{}
		for id, u := range l.Used() {
			if seen[id] || u.Allowed < max(1, last[id]) || u.Limited != 0 {
				t.Errorf("%s: %+v, seen %v, with %d before", id, u, seen[id], last[id])
			}
			seen[id], last[id] = true, u.Allowed
		}
		if len(seen) != stay {
			t.Errorf("%d clients, want %d", len(seen), stay)
		}
	}
	done.Store(true)
	wg.Wait()
}
