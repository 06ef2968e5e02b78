package model

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"loadbalancer/limiter"
)

var recordTo = flag.String("record", "", "write what docs/fleet draws to this file; with -long")

// point is what a client met that spreads its requests over all instances. docs/fleet draws it.
type point struct {
	Instances int     `json:"instances"`
	Capacity  int64   `json:"capacity"`
	Load      float64 `json:"load"`  // requests a second, in multiples of the rate
	Burst     int     `json:"burst"` // requests at once
	Ambush    bool    `json:"ambush"`

	Over     float64 `json:"over"`     // tokens above the limit, in the worst of all windows
	Bound    int64   `json:"bound"`    // of that
	Admitted int     `json:"admitted"` // requests
	Waited   float64 `json:"waited"`   // the part of these that waited for the central state
	P99      float64 `json:"p99"`      // of their waits, in milliseconds
	Tellings float64 `json:"tellings"` // for each admitted request
}

// near is a network of one place.
var near = network{Least: 150 * time.Microsecond, Jitter: 50 * time.Microsecond, Patience: 50 * time.Millisecond}

// measure has so many instances serve the client.
func measure(t *testing.T, instances int, capacity int64, load float64, burst int, r route, length time.Duration) point {
	s := scenario{
		Seed: 1, Length: length, Instances: instances, Wait: 5 * time.Millisecond, Network: near,
		Clients: []client{{keyed, limiter.Limit{Capacity: capacity, RatePerSecond: float64(capacity) / 2}, load, burst, r}},
	}
	p := point{Instances: instances, Capacity: capacity, Load: load, Burst: burst, Ambush: r == ambush}
	synctest.Test(t, func(t *testing.T) {
		w := run(s)
		for _, fault := range w.faults() {
			t.Errorf("%v: %s", &s, fault)
		}
		c := w.subjects[0]
		b := c.bounds()
		worst, _, _ := outrun(c.times(together), w.refill(b.rate))
		p.Over, p.Bound = max(0, worst-b.capacity), int64(b.credits)
		p.count(c)
	})
	return p
}

// count counts what the client met once all instances have credit.
func (p *point) count(c *subject) {
	from := beforeTraffic + beatEvery + 3*time.Second
	var waits []time.Duration
	waited, tellings := 0, 0
	for _, a := range c.admitted {
		if a.at >= from {
			waits = append(waits, a.waited)
		}
		if a.at >= from && a.waited > 0 {
			waited++
		}
	}
	for _, charge := range c.charges {
		if charge.at >= from {
			tellings++
		}
	}
	p.Admitted = len(waits)
	p.Waited = float64(waited) / float64(len(waits))
	p.P99 = quantile(waits, 0.99).Seconds() * 1000
	p.Tellings = float64(tellings) / float64(len(waits))
}

// TestThousand: from one instance to a thousand no client passes its bound, and what floods cost the central
// state is bounded.
func TestThousand(t *testing.T) {
	instances, capacities, length := []int{1, 10, 100}, []int64{1000}, 12*time.Second
	loads := []float64{3, 48}
	if *long {
		instances, capacities, length = []int{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000}, []int64{100, 1000, 10_000}, 12*time.Second
		loads = []float64{0.5, 1, 2, 4, 8, 16, 32, 64, 128}
	}
	var all []point
	for _, n := range instances {
		for _, capacity := range capacities {
			all = append(all,
				measure(t, n, capacity, 1, 2*int(capacity), ambush, length),
				measure(t, n, capacity, 1, 2*int(capacity), spread, length),
				measure(t, n, capacity, 0.5, 1, spread, length),
				measure(t, n, capacity, 3, 1, spread, length),
			)
		}
	}
	for _, load := range loads {
		for _, capacity := range []int64{40, 100} { // without credit, and with a token of it
			p := measure(t, 10, capacity, load, 1, spread, length)
			requireBoundedTellings(t, p)
			all = append(all, p)
		}
	}
	for _, p := range all {
		t.Logf("%+v", p)
	}
	if *recordTo != "" {
		write(t, *recordTo, all)
	}
}

// requireBoundedTellings: however many requests come, the central state hears of each token once from the
// instance that has let it through, or, of a client without credit, once from each that would.
func requireBoundedTellings(t *testing.T, p point) {
	t.Helper()
	most := 1.1
	if p.Capacity < int64(8*p.Instances) {
		most = float64(p.Instances + 1)
	}
	if p.Tellings > most {
		t.Errorf("the central state is told %.2f times for each admitted request, want at most %g: %+v", p.Tellings, most, p)
	}
}

// write writes the points, with a line for each.
func write(t *testing.T, path string, all []point) {
	t.Helper()
	var lines []string
	for _, p := range all {
		line, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	text := fmt.Sprintf("[\n%s\n]\n", strings.Join(lines, ",\n"))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
