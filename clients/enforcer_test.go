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

// askingRecords ask the enforcer while it reads them.
type askingRecords struct {
	*store.Copy
	enforcer *enforcer
	asked    int
}

func (r *askingRecords) AppendClients(page []store.Client, after limiter.ID, limit int) ([]store.Client, error) {
	r.enforcer.left() // as /readyz does
	r.asked++
	return r.Copy.AppendClients(page, after, limit)
}

// TestPlanOfMany changes the plan of clients of several pages. The lock is free in between.
func TestPlanOfMany(t *testing.T) {
	const clients = 2500
	l := limiter.New(limiter.DefaultConfig())
	e := newEnforcer(l, zerolog.Nop())
	records := &askingRecords{Copy: copyOfMany(t, clients, false), enforcer: e}
	if err := e.enforceAll(records); err != nil {
		t.Fatal(err)
	}
	plan := planOfMany
	plan.Terms.Capacity = 200
	if err := e.apply(store.Changes{Plans: []store.Plan{plan}}, records); err != nil {
		t.Fatal(err)
	}
	if records.asked != 6 || l.Registered() != clients {
		t.Errorf("%d pages were read, %d clients are registered", records.asked, l.Registered())
	}
	a := &api{t: t, limiter: l}
	for _, addr := range []string{"10.0.0.0", "10.0.3.231", "10.0.9.195"} {
		a.limited(addr, 200)
	}
}

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
