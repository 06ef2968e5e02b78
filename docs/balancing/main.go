// The command balancing compares the policies in a simulation. It writes the table of
// docs/balancing.md and the picture docs/balancing.svg. Requests and backends are made up, the picks
// are those of package balance. The same seeds give the same bytes.
//
// The policies are on their own: no backend is checked or ejected, and no request is sent again.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"loadbalancer/proxy/balance"
)

const (
	page    = "docs/balancing.md"
	drawing = "docs/balancing.svg"
	seeds   = 20
)

// policies are those that are compared, by their names in the config.
var policies = []balance.Policy{
	balance.RoundRobin, balance.LeastRequests, balance.RandomTwo, balance.Random, balance.IPHash, balance.Hash, balance.Latency,
}

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write() error {
	all := simulateAll(seeds)
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if text, err = withTable(text, table(all)); err != nil {
		return err
	}
	var svg bytes.Buffer
	if err := drawPicture(&svg, all); err != nil {
		return err
	}
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(drawing, svg.Bytes(), 0o644)
}

// results has the outcomes of one policy in each scenario, for each seed.
type results struct {
	policy   balance.Policy
	outcomes [][]outcome // by scenario, then by seed
}

func simulateAll(seeds uint64) (all []results) {
	for _, p := range policies {
		r := results{policy: p}
		for _, s := range scenarios {
			var outcomes []outcome
			for seed := range seeds {
				outcomes = append(outcomes, simulate(p, s, seed))
			}
			r.outcomes = append(r.outcomes, outcomes)
		}
		all = append(all, r)
	}
	return all
}

// typical returns the medians of outcomes.
func typical(all []outcome) outcome {
	return outcome{
		median(all, func(o outcome) time.Duration { return o.p50 }),
		median(all, func(o outcome) time.Duration { return o.p99 }),
		median(all, func(o outcome) float64 { return o.errors }),
	}
}

// median returns the upper median of what value gives.
func median[T time.Duration | float64](all []outcome, value func(outcome) T) T {
	var values []T
	for _, o := range all {
		values = append(values, value(o))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
