package clients

import (
	"testing"

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
