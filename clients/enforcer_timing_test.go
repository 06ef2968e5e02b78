package clients

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// BenchmarkPlanOfMany changes the plan of 1,000,000 clients.
func BenchmarkPlanOfMany(b *testing.B) {
	for _, named := range []bool{false, true} {
		b.Run(map[bool]string{false: "addresses", true: "names"}[named], func(b *testing.B) {
			const clients = 1_000_000
			records := copyOfMany(b, clients, named)
			e := newEnforcer(limiter.New(limiter.DefaultConfig()), zerolog.Nop())
			start := time.Now()
			if err := e.enforceAll(records); err != nil {
				b.Fatal(err)
			}
			b.Logf("enforced all in %v", time.Since(start))
			for b.Loop() {
				plan := planOfMany
				plan.Terms.Capacity += int64(b.N)
				if err := e.apply(store.Changes{Plans: []store.Plan{plan}}, records); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var planOfMany = store.Plan{Name: "gold", Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 100, RatePerSecond: 10}}, CreatedAt: store.Now(), UpdatedAt: store.Now()}

// copyOfMany returns a copy with clients of one plan.
func copyOfMany(tb testing.TB, clients int, named bool) *store.Copy {
	c, err := store.OpenCopy(filepath.Join(tb.TempDir(), "clients.snapshot"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	build := c.Build(store.Position{History: "h", Version: 1})
	build.Plans([]store.Plan{planOfMany})
	for i := range clients {
		one := store.Client{Plan: planOfMany.Name, CreatedAt: store.Now(), UpdatedAt: store.Now(), Version: 1}
		if named {
			one.ID.Name = fmt.Sprintf("customer-%07d", i)
			one.Keys = []store.Key{{ID: "12345678", Digest: limiter.DigestKey([]byte(one.ID.Name)), CreatedAt: one.CreatedAt}}
		} else {
			one.ID.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		}
		if err := build.Add(one); err != nil {
			tb.Fatal(err)
		}
	}
	if err := build.Commit(); err != nil {
		tb.Fatal(err)
	}
	return c
}
