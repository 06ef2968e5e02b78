package limiter

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestKeyring(t *testing.T) {
	a, b, c := DigestKey([]byte("a")), DigestKey([]byte("b")), DigestKey([]byte("c"))
	for _, tt := range []struct {
		name        string
		given, want [MaxKeys]KeyDigest
	}{
		{"one", [MaxKeys]KeyDigest{a}, [MaxKeys]KeyDigest{a}},
		{"one, behind gaps", [MaxKeys]KeyDigest{{}, {}, a}, [MaxKeys]KeyDigest{a}},
		{"two", [MaxKeys]KeyDigest{a, b}, [MaxKeys]KeyDigest{a, b}},
		{"gaps", [MaxKeys]KeyDigest{{}, b, {}, a}, [MaxKeys]KeyDigest{b, a}},
		{"one twice", [MaxKeys]KeyDigest{a, a, {}, a}, [MaxKeys]KeyDigest{a}},
		{"two of them twice", [MaxKeys]KeyDigest{a, b, a, b}, [MaxKeys]KeyDigest{a, b}},
		{"three, one twice", [MaxKeys]KeyDigest{a, b, b, c}, [MaxKeys]KeyDigest{a, b, c}},
	} {
		r := keyringOf("acme", tt.given)
		if got := slices.Collect(r.all); !slices.Equal(got, slices.DeleteFunc(tt.want[:], func(d KeyDigest) bool { return d == KeyDigest{} })) {
			t.Errorf("%s: %x", tt.name, got)
		}
		for _, d := range []KeyDigest{a, b, c} {
			if want := slices.Contains(tt.given[:], d); r.has(d) != want || r.leads(d.place().hi) != want {
				t.Errorf("%s: has %x is %v and leads is %v, want %v", tt.name, d, r.has(d), r.leads(d.place().hi), want)
			}
		}
	}
}

// giveKeys registers a client with the capacity and the keys.
func (l *Limiter) giveKeys(name string, capacity int64, keys ...string) {
	l.set(Registration{ID{Name: name}, digests(keys...), Terms{Limit: Limit{capacity, 1}}}, t0)
}

// All keys of a client lead to its one bucket, through every change of the keys, and when the table
// grows.
func TestKeysShareABucket(t *testing.T) {
	l, id := newLimiter(), ID{Name: "acme"}
	spent := int64(0)
	for i, keys := range [][]string{
		{"a"}, {"a", "b"}, {"b"}, {"b", "c"}, {"c", "d"}, {"a", "b", "c", "d"}, {"a", "b", "c", "d"}, {"d"}, {"a"}, {"a"}, {}, {"b", "a"}, {},
	} {
		l.giveKeys(id.Name, 100, keys...)
		if i%2 == 0 {
			for j := range 100 {
				l.giveKeys(string(rune('0'+j)), 5, "key "+string(rune('0'+j+i)))
			}
		}
		for _, key := range []string{"a", "b", "c", "d"} {
			d := l.take(l.by("192.0.2.1", key), t0+int64(i)*3600e9)
			if !slices.Contains(keys, key) {
				if d.Capacity != 10 {
					t.Fatalf("%d: key %s is not the client's, but %+v", i, key, d)
				}
				continue
			}
			if spent++; d.Capacity != 100 {
				t.Fatalf("%d: key %s: %+v", i, key, d)
			}
		}
		if u, ok := l.usage(id, t0); !ok || u.Allowed != spent {
			t.Fatalf("%d: %+v, want %d allowed", i, u, spent)
		}
	}
	if l.Registered() != 101 {
		t.Errorf("%d registered, want 101", l.Registered())
	}
	l.giveKeys(id.Name, 4, "a", "b")
	if n := l.takeBy("a", 0) + l.takeBy("b", 0); n > 4 {
		t.Errorf("%d tokens by two keys of a bucket of 4", n)
	}
	l.delete(id, t0)
	for _, key := range []string{"a", "b"} {
		if d := l.take(l.by("192.0.2.9", key), t0); d.Capacity != 10 {
			t.Errorf("a deleted client's key %s: %+v", key, d)
		}
	}
	if _, ok := l.usage(id, t0); ok || l.Registered() != 100 {
		t.Errorf("%d registered after the deletion, want 100", l.Registered())
	}
}

// takeBy takes all tokens that the key gives at a moment after t0.
func (l *Limiter) takeBy(key string, after int64) (n int) {
	for l.take(l.by("192.0.2.1", key), t0+after).Allowed {
		n++
	}
	return n
}

// A token spent by one key is missing for the others.
func TestKeysSpendFromOneBucket(t *testing.T) {
	l := newLimiter()
	l.giveKeys("acme", 7, "a", "b", "c")
	for i, key := range []string{"a", "b", "c", "a"} {
		if d := l.take(l.by("192.0.2.1", key), t0); d.Remaining != 6-int64(i) {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	l.giveKeys("acme", 7, "d")
	if n := l.takeBy("d", 0); n != 3 {
		t.Errorf("%d tokens by another key, want the 3 that are left", n)
	}
}

// A key that another client gets is taken away from its holder, which keeps its others, and is
// deleted with its last.
func TestKeyTakenAway(t *testing.T) {
	l, holder := newLimiter(), ID{Name: "holder"}
	l.giveKeys("holder", 20, "a", "b")
	l.take(l.by("192.0.2.1", "a"), t0)
	l.giveKeys("thief", 30, "a", "c")
	if d := l.take(l.by("192.0.2.1", "a"), t0); d.Capacity != 30 || d.Remaining != 29 {
		t.Errorf("the key taken: %+v", d)
	}
	if d := l.take(l.by("192.0.2.1", "b"), t0); d.Capacity != 20 || d.Remaining != 18 {
		t.Errorf("the key left: %+v", d)
	}
	l.giveKeys("thief", 30, "c")
	if d := l.take(l.by("192.0.2.1", "a"), t0); d.Capacity != 10 {
		t.Errorf("the key that nobody has: %+v", d)
	}
	l.giveKeys("thief", 30, "b", "c")
	if _, ok := l.usage(holder, t0); ok || l.Registered() != 1 {
		t.Errorf("a client without its last key is still there; %d registered", l.Registered())
	}
	l.giveKeys("holder", 20, "d")
	if d := l.take(l.by("192.0.2.1", "d"), t0); d.Remaining != 17 {
		t.Errorf("registered anew: %+v, want the debt of two tokens and this one", d)
	}
}

// A request that found its client by a key which the client has lost is decided by its address; one
// that found it by a key which is left counts for the client, wherever the bucket was.
func TestKeysChangeBetweenIdentifyAndAdmit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before []string
		after  []string
	}{
		{"one more", []string{"a"}, []string{"a", "b"}},
		{"one less", []string{"a", "b"}, []string{"a"}},
		{"another", []string{"a"}, []string{"b"}},
		{"another of two", []string{"a", "b"}, []string{"b", "c"}},
		{"the first of three", []string{"a", "b", "c"}, []string{"b", "c"}},
		{"the other order", []string{"a", "b"}, []string{"b", "a"}},
		{"none is left", []string{"a", "b"}, nil},
		{"the first", nil, []string{"a"}},
	} {
		for _, exempt := range []bool{false, true} {
			l, id := newLimiter(), ID{Name: "acme"}
			l.giveKeys(id.Name, 20, tt.before...)
			for _, key := range tt.before {
				l.giveKeys(id.Name, 20, tt.before...)
				c := l.by("192.0.2.1", key)
				l.giveKeys(id.Name, 20, tt.after...)
				before, _ := l.usage(id, t0)
				var d Decision
				var lease Lease
				if exempt {
					lease = l.admitExempt(c, t0, &d)
				} else {
					lease = l.admit(c, t0, &d)
				}
				u, _ := l.usage(id, t0)
				if got, want := u.InFlight-before.InFlight == 1, slices.Contains(tt.after, key); got != want {
					t.Errorf("%s, exempt %v: a request with key %s is the client's: %v, want %v", tt.name, exempt, key, got, want)
				}
				lease.Release()
				if u, _ := l.usage(id, t0); u.InFlight != 0 {
					t.Errorf("%s, exempt %v: %+v at the end", tt.name, exempt, u)
				}
			}
		}
	}
}

// While keys are added and removed, and neighbours come, requests with the key that stays are all
// the client's; those with the others are the client's or their address's. All tokens add up.
func TestKeyRotatedAtOnce(t *testing.T) {
	const capacity, requests = 2_000_000, 20_000
	l, id := newLimiter(), ID{Name: "acme"}
	l.giveKeys(id.Name, capacity, "stays")
	var wg sync.WaitGroup
	var done atomic.Bool
	var taken, steady atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			keys := []string{"stays", "old", "stays", "new"}
			for n := i; n < requests || !done.Load(); n++ {
				key := keys[n%len(keys)]
				d := l.take(l.by("192.0.2.1", key), t0)
				switch {
				case d.Capacity == capacity && d.Allowed:
					if taken.Add(1); key == "stays" {
						steady.Add(1)
					}
				case d.Capacity != capacity && key == "stays":
					t.Errorf("the key that stays: %+v", d)
					return
				}
			}
		})
	}
	rounds := 500
	if *long {
		rounds = 20_000
	}
	for i := 0; i < rounds || taken.Load() < steady.Load()+100; i++ {
		l.giveKeys(id.Name, capacity, "stays", "old")
		l.giveKeys(id.Name, capacity, "old", "stays", "new")
		l.giveKeys(id.Name, capacity, "new", "stays")
		l.giveKeys(id.Name, capacity, "stays")
		l.giveKeys("other", 7, []string{"old", "new"}[i%2])
		l.giveKeys(string(rune(i%500)), 7, "key "+string(rune(i%500)))
	}
	done.Store(true)
	wg.Wait()
	u, _ := l.usage(id, t0)
	if u.Allowed != taken.Load() || int64(u.Tokens) != capacity-u.Allowed || u.InFlight != 0 {
		t.Errorf("%+v, want %d taken of %d", u, taken.Load(), capacity)
	}
}
