package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"loadbalancer/proxy/balance"
)

// The page and the picture are those that the simulation makes.
func TestPageIsUpToDate(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("simulates for some seconds")
	}
	all := simulateAll(seeds)
	text, err := os.ReadFile("../balancing.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := withTable(text, table(all))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("the table of docs/balancing.md is not up to date; go run ./docs/balancing:\n%s", table(all))
	}
	committed, err := os.ReadFile("../balancing.svg")
	if err != nil {
		t.Fatal(err)
	}
	var drawn bytes.Buffer
	if err := drawPicture(&drawn, all); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(drawn.Bytes(), committed) {
		t.Error("docs/balancing.svg is not up to date; go run ./docs/balancing")
	}
	t.Run("latency beside round_robin", func(t *testing.T) { compareLatency(t, all) })
}

// compareLatency holds latency to what makes it a default: no worse than round_robin by more than
// 5 % on equal backends, and better on others.
func compareLatency(t *testing.T, all []results) {
	turn, latency := byPolicy(all, balance.RoundRobin), byPolicy(all, balance.Latency)
	for i, s := range scenarios {
		a, b := typical(latency.outcomes[i]), typical(turn.outcomes[i])
		if i == 0 {
			b.p50, b.p99 = b.p50*105/100, b.p99*105/100
		}
		if a.p50 >= b.p50 || a.p99 >= b.p99 || a.errors > b.errors {
			t.Errorf("%s: %+v, and round_robin %+v", s.name, a, b)
		}
	}
}

// A backend works at as many requests as it has workers, and at the others in order.
func TestRunQueues(t *testing.T) {
	r := run{scenario: scenarios[0]}
	const work = 10 * time.Millisecond
	for range workers + 2 { // at once, at one backend
		r.begin(request{warmUp, work}, 3)
	}
	if b := &r.backends[3]; b.busy != workers || len(b.waiting) != 2 || b.load.InFlight.Load() != workers+2 {
		t.Fatalf("%d work, %d wait, %d in flight", b.busy, len(b.waiting), b.load.InFlight.Load())
	}
	r.endUntil(warmUp + 15*time.Millisecond)
	if b := &r.backends[3]; b.busy != 2 || len(b.waiting) != 0 || b.load.InFlight.Load() != 2 {
		t.Fatalf("after 15 ms %d work, %d wait, %d in flight", b.busy, len(b.waiting), b.load.InFlight.Load())
	}
	r.endUntil(length)
	r.giveUp()
	if o := r.outcome(); len(r.took) != workers+2 || o != (outcome{10 * time.Millisecond, 20 * time.Millisecond, 0}) {
		t.Errorf("%d requests: %+v", len(r.took), o)
	}
}

// Requests that failed or never ended are not left out.
func TestOutcomeCountsAll(t *testing.T) {
	r := run{scenario: scenarios[2], now: warmUp}
	r.begin(request{warmUp, time.Millisecond}, 0) // fails
	for range workers + 1 {
		r.begin(request{warmUp, time.Hour}, 1) // does not end
	}
	r.begin(request{0, time.Millisecond}, 2) // in the warm-up
	r.endUntil(length)
	r.giveUp()
	o := r.outcome()
	if len(r.took) != workers+2 || o.p50 != length-warmUp || o.p99 != never || o.errors != 1.0/(workers+2) {
		t.Errorf("%d requests: %+v", len(r.took), o)
	}
}

// The same seed gives the same outcome, for policies that draw as well.
func TestSimulationIsRepeatable(t *testing.T) {
	for _, p := range []balance.Policy{balance.RandomTwo, balance.Latency} {
		if a, b := simulate(p, scenarios[1], 5), simulate(p, scenarios[1], 5); a != b {
			t.Errorf("%s: %+v and then %+v", p, a, b)
		}
	}
}
