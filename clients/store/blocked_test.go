package store

import (
	"math"
	"testing"

	"loadbalancer/limiter"
)

// TestBlockHolds has blocked clients whose other terms are wrong.
func TestBlockHolds(t *testing.T) {
	wrong := limiter.Limit{Capacity: 1e9, RatePerSecond: 1e-9}
	gold := &Plan{Name: "gold", Terms: limiter.Terms{Limit: limiter.Limit{Capacity: 5, RatePerSecond: 1}}}
	for name, c := range map[string]struct {
		client Client
		plan   *Plan
	}{
		"no limit":      {Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Blocked: true}}, nil},
		"half a limit":  {Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Blocked: true, Limit: limiter.Limit{Capacity: 1e9}}}, nil},
		"a wrong limit": {Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Blocked: true, Limit: wrong}}, nil},
		"no number":     {Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Blocked: true, Limit: limiter.Limit{Capacity: 1, RatePerSecond: math.NaN()}}}, nil},
		"a wrong trial": {Client{ID: idOf("10.0.0.1"), Own: limiter.Terms{Blocked: true, Trial: wrong}}, nil},
		"a wrong mix":   {Client{ID: idOf("10.0.0.1"), Plan: "gold", Own: limiter.Terms{Blocked: true, Limit: limiter.Limit{RatePerSecond: 1e-9}}}, gold},
	} {
		terms := c.client.Enforced(c.plan)
		if err := c.client.Check(c.plan); err != nil || !terms.Blocked {
			t.Errorf("%s: %+v, %v", name, terms, err)
		}
		if field, _, ok := terms.Check(); !ok {
			t.Errorf("%s: the limiter refuses %s of %+v", name, field, terms)
		}
		c.client.Own.Blocked = false
		if c.client.Check(c.plan) == nil {
			t.Errorf("%s: it is allowed without the block", name)
		}
	}
}
