package main

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter"
)

func TestPictureIsUpToDate(t *testing.T) {
	committed, err := os.ReadFile("../bucket.svg")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // with a new limiter and another time of day
		var drawn bytes.Buffer
		if err := draw(&drawn, sold, ask(sold, arrivals(sold))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(drawn.Bytes(), committed) {
			t.Fatalf("docs/bucket.svg differs from what the limiter does; go run ./docs/bucket > docs/bucket.svg:\n%s", &drawn)
		}
	}
}

// A bucket in plain arithmetic decides alike, and what the picture shows is what it holds.
func TestDecisionsAreABuckets(t *testing.T) {
	held, last := float64(sold.Capacity), time.Duration(0)
	admitted := 0
	const allowance = 1e-6 // tokens, for the rounding of floats
	for i, r := range ask(sold, arrivals(sold)) {
		held = min(float64(sold.Capacity), held+(r.at-last).Seconds()*sold.RatePerSecond)
		last = r.at
		if got, want := r.decision.Allowed, held > 1-allowance; got != want {
			t.Fatalf("request %d, at %s, with %g tokens: allowed is %t", i, r.at, held, got)
		}
		if r.decision.Allowed {
			admitted++
			held--
		}
		if got := r.tokens(sold); math.Abs(got-held) > allowance {
			t.Errorf("request %d, at %s: drawn at %g tokens, want %g", i, r.at, got, held)
		}
	}
	if admitted != 17 { // 5, 1 and 6 at leisure, 5
		t.Errorf("%d requests were admitted, want 17", admitted)
	}
}

// The marks follow the decisions: with another limit there are others.
func TestEachRequestHasItsMark(t *testing.T) {
	for _, limit := range []limiter.Limit{sold, {Capacity: 2, RatePerSecond: 1}, {Capacity: 30, RatePerSecond: 10}} {
		requests := ask(limit, arrivals(sold))
		admitted := 0
		for _, r := range requests {
			if r.decision.Allowed {
				admitted++
			}
		}
		var drawn strings.Builder
		if err := draw(&drawn, limit, requests); err != nil {
			t.Fatal(err)
		}
		const inLegend = 1 // of each
		dots := strings.Count(drawn.String(), `<circle class="admitted"`) - inLegend
		crosses := strings.Count(drawn.String(), `<path class="rejected"`) - inLegend
		if dots != admitted || crosses != len(requests)-admitted {
			t.Errorf("%+v: %d dots and %d crosses for %d requests, of which %d are admitted", limit, dots, crosses, len(requests), admitted)
		}
	}
}
