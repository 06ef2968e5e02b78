package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"loadbalancer/proxy/balance"
)

// The table stands between these lines of the page.
const (
	tableBegins = "<!-- The table is written by go run ./docs/balancing -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// withTable returns the page with another table.
func withTable(page []byte, table string) ([]byte, error) {
	before, rest, begins := bytes.Cut(page, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		return nil, fmt.Errorf("the page has no place for the table: %q and %q", tableBegins, tableEnds)
	}
	return bytes.Join([][]byte{before, []byte(tableBegins + table + tableEnds), after}, nil), nil
}

// table returns the medians over the seeds, and how latency compares with round_robin.
func table(all []results) string {
	var b strings.Builder
	b.WriteString("\n| p50 · p99 · errors |")
	for _, s := range scenarios {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(scenarios)) + "\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| `%s` |", r.policy)
		for _, outcomes := range r.outcomes {
			o := typical(outcomes)
			fmt.Fprintf(&b, " %s · %s · %.2f %% |", inMS(o.p50), inMS(o.p99), o.errors*100)
		}
		b.WriteString("\n")
	}
	turn, latency := byPolicy(all, balance.RoundRobin), byPolicy(all, balance.Latency)
	fmt.Fprintf(&b, "\nOn equal backends, `latency` has %s of the p50 of `round_robin` and %s of its p99, by seed.\n\n",
		ratios(latency.outcomes[0], turn.outcomes[0], func(o outcome) time.Duration { return o.p50 }),
		ratios(latency.outcomes[0], turn.outcomes[0], func(o outcome) time.Duration { return o.p99 }))
	return b.String()
}

func byPolicy(all []results, p balance.Policy) *results {
	for i := range all {
		if all[i].policy == p {
			return &all[i]
		}
	}
	panic("BUG: not simulated")
}

// ratios returns the least and the greatest ratio of two runs of the same seed.
func ratios(a, b []outcome, value func(outcome) time.Duration) string {
	least, greatest := 1e9, 0.0
	for i := range a {
		ratio := float64(value(a[i])) / float64(value(b[i]))
		least, greatest = min(least, ratio), max(greatest, ratio)
	}
	return fmt.Sprintf("%.0f to %.0f %%", least*100, greatest*100)
}

// inMS returns a time in milliseconds.
func inMS(d time.Duration) string {
	switch ms := d.Seconds() * 1000; {
	case d == never:
		return "failed"
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}
