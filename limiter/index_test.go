package limiter

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// badHash sends all addresses to one of four places, two of them at the end of the table.
func badHash(a address) uint64 {
	return []uint64{0, 1 << 62, 1<<64 - 1, 1<<64 - 2}[a.lo%4]
}

// numbered is a plan by which a bucket can be told from others.
func numbered(n int64) *plan { return make(plans).use(Terms{Limit: Limit{n, 1000}}, nil) }

// give is what Limiter.enrol does with an address.
func (x *index) give(a address, p *plan) {
	if old := x.get(a); old != nil {
		next := newBucket(p, old.account)
		old.replace(next, t0)
		x.replace(a, old, next)
		x.tidy()
		return
	}
	x.add(a, newBucket(p, &account{}))
}

// take is what Limiter.remove does with an address.
func (x *index) take(a address, old *bucket) {
	x.unlink(a, old)
	old.shut()
	x.tidy()
}

// Whatever is registered, changed and deleted, the index is like a map.
func TestIndexIsLikeAMap(t *testing.T) {
	for name, hash := range map[string]func(address) uint64{"good hash": testHash().hash, "bad hash": badHash} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				x, want := newIndex(hash), make(map[address]int64)
				kinds := rapid.IntRange(1, 200).Draw(t, "kinds")
				for n := range rapid.IntRange(0, 500).Draw(t, "changes") {
					a := address{0, uint64(rapid.IntRange(1, kinds).Draw(t, "address"))}
					if rapid.IntRange(0, 2).Draw(t, "deletes") == 0 {
						b := x.get(a)
						if (b != nil) != (want[a] != 0) {
							t.Fatalf("%v, registered with %d, is %v", a, want[a], b)
						}
						if b != nil {
							x.take(a, b)
							if b.state.Load() >= 0 || b.next.Load() != nil {
								t.Fatalf("%v was removed, but its bucket is open or leads on", a)
							}
							delete(want, a)
						}
						continue
					}
					x.give(a, numbered(int64(n+1)))
					want[a] = int64(n + 1)
				}
				for i := range kinds + 1 {
					a := address{0, uint64(i)}
					switch b := x.get(a); {
					case b == nil && want[a] != 0:
						t.Fatalf("%v is lost", a)
					case b != nil && (b.plan.rates.capacity != want[a] || b.state.Load() <= 0):
						t.Fatalf("%v has %d, state %d; want %d", a, b.plan.rates.capacity, b.state.Load(), want[a])
					}
				}
				if got := x.size.Load(); got != int64(len(want)) {
					t.Fatalf("size %d, want %d", got, len(want))
				}
				if n := len(*x.entries.Load()); 2*x.taken > n || n > max(leastEntries, 3*(kinds+1)) {
					t.Fatalf("%d of %d entries taken, with %d addresses in all", x.taken, n, kinds)
				}
			})
		})
	}
}

func testHash() *hashKey {
	k := newHashKey()
	return &k
}

// The state of a bucket survives growth, and a client identified before still finds it.
func TestIndexGrowthKeepsWhatIsSpent(t *testing.T) {
	l := newLimiter()
	p := netip.PrefixFrom(ipv4(0), 32)
	l.register(p, Limit{5, 1}, t0)
	client := l.Identify(p.Addr(), nil)
	l.take(client, t0)
	for i := range 10_000 {
		l.register(netip.PrefixFrom(ipv4(i+1), 32), Limit{7, 1}, t0)
	}
	if now := l.Identify(p.Addr(), nil); now.bucket == client.bucket {
		t.Fatal("the table did not grow")
	}
	if d := l.take(client, t0); d.Capacity != 5 || d.Remaining != 3 {
		t.Errorf("after growth: %+v, want the bucket less two tokens", d)
	}
	l.forget(p, t0)
	if d := l.take(client, t0); d.Capacity != 10 || d.Remaining != 7 {
		t.Errorf("after deletion: %+v, want the default limit less three tokens", d)
	}
	l.register(p, Limit{6, 1}, t0)
	if d := l.take(client, t0); d.Capacity != 6 || d.Remaining != 2 {
		t.Errorf("registered anew: %+v, want a bucket less four tokens", d)
	}
}

// Readers neither lose a client that stays nor see another's bucket while others come and go, and
// the tokens they get add up however often the table is rebuilt.
func TestIndexReadersAndWritersAtOnce(t *testing.T) {
	const stay, others, capacity = 50, 150, 1000
	for name, hash := range map[string]func(address) uint64{"good hash": testHash().hash, "bad hash": badHash} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(hash)
			staying := func(i int) address { return address{1, uint64(i)} }
			for i := range stay {
				x.give(staying(i), numbered(capacity+int64(i)))
			}
			var done atomic.Bool
			var taken [stay]atomic.Int64
			var readers sync.WaitGroup
			for w := range 4 {
				readers.Go(func() {
					for n := w; !done.Load(); n++ {
						i := n % stay
						b := x.get(staying(i))
						for b != nil {
							if b.plan.rates.capacity != capacity+int64(i) {
								t.Errorf("client %d sees the bucket of client %d", i, b.plan.rates.capacity-capacity)
								return
							}
							o, ok := takeFrom(&b.state, t0, &b.plan.rates)
							if ok && o.allowed {
								taken[i].Add(1)
							}
							if ok {
								break
							}
							b = b.next.Load()
						}
						if b == nil {
							t.Errorf("client %d is lost", i)
							return
						}
						other := n % others
						if b := x.get(address{2, uint64(other)}); b != nil && b.plan.rates.capacity != int64(other+1) {
							t.Errorf("client %d sees the bucket of client %d", other, b.plan.rates.capacity-1)
							return
						}
					}
				})
			}
			for round := range 40 {
				for i := range others {
					x.give(address{2, uint64(i)}, numbered(int64(i+1)))
				}
				for i := range others {
					if i%3 != round%3 {
						a := address{2, uint64(i)}
						x.take(a, x.get(a))
					}
				}
				x.give(staying(round), numbered(capacity+int64(round)))
			}
			done.Store(true)
			readers.Wait()
			for i := range stay {
				b := x.get(staying(i))
				for o, _ := takeFrom(&b.state, t0, &b.plan.rates); o.allowed; o, _ = takeFrom(&b.state, t0, &b.plan.rates) {
					taken[i].Add(1)
				}
				if got := taken[i].Load(); got != capacity+int64(i) {
					t.Errorf("client %d got %d tokens, want %d", i, got, capacity+i)
				}
			}
		})
	}
}
