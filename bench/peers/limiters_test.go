package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	juju "github.com/juju/ratelimit"
	sethvargo "github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"

	"loadbalancer/limiter"
)

// limit is so many tokens at once, and as many again in each period.
type limit struct {
	tokens int64
	period time.Duration
}

func (l limit) perSecond() float64 { return float64(l.tokens) / l.period.Seconds() }

// client has its key in each form that a limiter wants, so that none is charged for making it.
type client struct {
	addr netip.Addr
	name string
}

// clientOf returns the i-th client, with the i-th address after 10.0.0.0.
func clientOf(i int) client {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
	addr := netip.AddrFrom4(a)
	return client{addr, addr.String()}
}

// contender is a limiter as its users call it. The functions that it makes ask for one token and
// are safe for concurrent use.
type contender struct {
	name    string
	blocks  bool // has no way to reject
	givesUp bool // answers with an error under contention; see TestGivesUpUnderContention
	bucket  func(testing.TB, limit) func() bool
	keyed   func(testing.TB, limit) func(client) bool // nil if the name is only another way to call a bucket
}

func contenders() []contender {
	return append(ours(), theirs()...)
}

// ours has the limiter three times: as it is called for a request whose client is not yet known, as
// others are that are only a bucket, and as the balancer does, which has read the clock already.
func ours() []contender {
	found := func(tb testing.TB, l limit) func(client) bool {
		lim := newLimiter(tb, l, 1_000_000)
		return func(c client) bool { return admits(lim, lim.Identify(c.addr, nil), time.Now()) }
	}
	known := func(tb testing.TB, l limit) (*limiter.Limiter, limiter.Client) {
		lim, addr := newLimiter(tb, l, 1), clientOf(0).addr
		register(lim, addr, limiter.Limit{Capacity: l.tokens, RatePerSecond: l.perSecond()})
		return lim, lim.Identify(addr, nil)
	}
	return []contender{{
		name:   "this limiter, client looked up",
		bucket: func(tb testing.TB, l limit) func() bool { return oneOf(found(tb, l)) },
		keyed:  found,
	}, {
		name: "this limiter, client known",
		bucket: func(tb testing.TB, l limit) func() bool {
			lim, c := known(tb, l)
			return func() bool { return admits(lim, c, time.Now()) }
		},
	}, {
		name: "this limiter, client and time known",
		bucket: func(tb testing.TB, l limit) func() bool {
			lim, c := known(tb, l)
			now := time.Now()
			return func() bool { return admits(lim, c, now) }
		},
	}}
}

// newLimiter returns a limiter that gives everybody the limit, and tracks so many clients. admits
// has a request admitted and, if it was, ended.
func admits(l *limiter.Limiter, c limiter.Client, now time.Time) bool {
	var d limiter.Decision
	l.Admit(c, now, &d).Release()
	return d.Allowed
}

func register(l *limiter.Limiter, addr netip.Addr, limit limiter.Limit) {
	l.Set(limiter.Registration{
		ID:    limiter.ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())},
		Terms: limiter.Terms{Limit: limit},
	})
}

func newLimiter(tb testing.TB, l limit, tracked int) *limiter.Limiter {
	tb.Helper()
	cfg := limiter.DefaultConfig()
	cfg.Default.Limit = limiter.Limit{Capacity: l.tokens, RatePerSecond: l.perSecond()}
	cfg.MaxTracked = tracked
	cfg.Validate(func(path string, value any, allowed string) {
		tb.Fatalf("limiter.%s is %v, must be %s", path, value, allowed)
	})
	lim := limiter.New(cfg)
	time.Sleep(time.Nanosecond) // its first moment is 1 ns, and in a bubble of synctest no time passes by itself
	return lim
}

func theirs() []contender {
	timeKnown := contender{
		name: "x/time/rate, time known",
		bucket: func(_ testing.TB, l limit) func() bool {
			lim, now := newRate(l), time.Now()
			return func() bool { return lim.AllowN(now, 1) }
		},
	}
	// It blocks where others reject, hence a limit that nobody exceeds.
	newUber := func(limit) uber.Limiter { return uber.New(1_000_000_000) }
	blocking := bucketed("uber-go/ratelimit", newUber, func(l uber.Limiter) bool { return !l.Take().IsZero() })
	blocking.blocks = true
	givingUp := stored("throttled/throttled", newThrottled)
	givingUp.givesUp = true
	return []contender{
		bucketed("x/time/rate", newRate, (*rate.Limiter).Allow),
		timeKnown,
		bucketed("juju/ratelimit", newJuju, takeJuju),
		blocking,
		givingUp,
		stored("sethvargo/go-limiter", newSethvargo),
		stored("ulule/limiter", newUlule),
	}
}

func newRate(l limit) *rate.Limiter { return rate.NewLimiter(rate.Limit(l.perSecond()), int(l.tokens)) }

func newJuju(l limit) *juju.Bucket { return juju.NewBucketWithRate(l.perSecond(), l.tokens) }

func takeJuju(b *juju.Bucket) bool { return b.TakeAvailable(1) == 1 }

// bucketed is a limiter that is a bucket: its users keep those of their clients in a sync.Map.
func bucketed[B any](name string, newBucket func(limit) B, take func(B) bool) contender {
	return contender{
		name: name,
		bucket: func(_ testing.TB, l limit) func() bool {
			b := newBucket(l)
			return func() bool { return take(b) }
		},
		keyed: func(_ testing.TB, l limit) func(client) bool {
			var buckets sync.Map
			return func(c client) bool {
				b, ok := buckets.Load(c.addr)
				if !ok {
					b, _ = buckets.LoadOrStore(c.addr, newBucket(l))
				}
				return take(b.(B))
			}
		},
	}
}

// stored is a limiter that keeps the buckets of all clients itself.
func stored(name string, keyed func(testing.TB, limit) func(client) bool) contender {
	return contender{
		name:   name,
		bucket: func(tb testing.TB, l limit) func() bool { return oneOf(keyed(tb, l)) },
		keyed:  keyed,
	}
}

func oneOf(take func(client) bool) func() bool {
	c := clientOf(0)
	return func() bool { return take(c) }
}

func newThrottled(tb testing.TB, l limit) func(client) bool {
	tb.Helper()
	return throttledOn(tb, newMemstore(tb, 0), l)
}

func newMemstore(tb testing.TB, maxKeys int) *memstore.MemStore {
	tb.Helper()
	store, err := memstore.New(maxKeys)
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

func throttledOn(tb testing.TB, store *memstore.MemStore, l limit) func(client) bool {
	tb.Helper()
	lim := newGCRA(tb, throttled.WrapStoreWithContext(store), l)
	ctx := context.Background()
	return func(c client) bool {
		limited, _, err := lim.RateLimitCtx(ctx, c.name, 1)
		return err == nil && !limited
	}
}

func newGCRA(tb testing.TB, store throttled.GCRAStoreCtx, l limit) *throttled.GCRARateLimiterCtx {
	tb.Helper()
	lim, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{
		MaxRate:  throttled.PerDuration(int(l.tokens), l.period),
		MaxBurst: int(l.tokens) - 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return lim
}

func newSethvargo(tb testing.TB, l limit) func(client) bool {
	tb.Helper()
	return sethvargoOn(newSethvargoStore(tb, memorystore.Config{Tokens: uint64(l.tokens), Interval: l.period}))
}

func newSethvargoStore(tb testing.TB, cfg memorystore.Config) sethvargo.Store {
	tb.Helper()
	goroutines := runtime.NumGoroutine()
	store, err := memorystore.New(&cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		// Its goroutine holds the memory until it ends, which nobody is told.
		for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				tb.Fatal("the goroutine of a closed store still runs after 10 s")
			}
		}
	})
	return store
}

func sethvargoOn(store sethvargo.Store) func(client) bool {
	ctx := context.Background()
	return func(c client) bool {
		_, _, _, ok, err := store.Take(ctx, c.name)
		return err == nil && ok
	}
}

func newUlule(_ testing.TB, l limit) func(client) bool {
	// Its goroutine that deletes expired counters would outlive the test, so there is none.
	store := memory.NewStoreWithOptions(ulule.StoreOptions{Prefix: ulule.DefaultPrefix})
	lim := ulule.New(store, ulule.Rate{Period: l.period, Limit: l.tokens})
	ctx := context.Background()
	return func(c client) bool {
		result, err := lim.Get(ctx, c.name)
		return err == nil && !result.Reached
	}
}
