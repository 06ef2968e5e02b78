// Package model runs instances of the limiter that share limits, as many as are wanted, in the time of
// testing/synctest: with a model of the central state, and of a network that delays, reorders and loses.
package model

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"loadbalancer/limiter"
)

var long = flag.Bool("long", false, "run the long forms")

// TestQuietFleet: while nothing goes wrong, no window admits more than the limit and the credits, a
// client without credit has its limit exactly, and all have 99.5 % of what they are entitled to.
func TestQuietFleet(t *testing.T) {
	checkFleet(t, shape{quick: true, kinds: []kind{address, keyed, ranged}})
}

// TestFleet: whatever goes wrong, no window admits more than the bounds of docs/fleet.md. The short form
// runs the same scenarios each time, as one of some thousand passes a bound: where a third of the
// messages is lost, a client without credit may get the part of an absence more than once.
func TestFleet(t *testing.T) {
	if seed := flag.Lookup("rapid.seed"); !*long && seed.Value.String() == seed.DefValue {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			t.Fatal(err)
		}
		defer flag.Set("rapid.seed", seed.DefValue)
	}
	checkFleet(t, shape{
		lossy: true, most: 4, kinds: []kind{address, keyed, ranged, each, unregistered},
		events: []happening{crash, stop, start, cut, freeze, wipe, failover, change, reset},
	})
}

func checkFleet(t *testing.T, in shape) {
	in.requests, in.length = 4_000, 12*time.Second
	if *long {
		in.requests, in.length = 40_000, 40*time.Second
		in.most *= 2
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := draw(rt, in)
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = run(s).faults() })
		if len(faults) > 0 {
			rt.Fatalf("%v\n%s", &s, strings.Join(faults, "\n"))
		}
	})
}

// drained is a scenario of a client that spends its whole bucket at once, of which nothing comes back,
// and asks again and again.
func drained(instances int, events ...event) scenario {
	return scenario{
		Seed: 1, Length: 12 * time.Second, Instances: instances, Wait: 5 * time.Millisecond, Network: near, Events: events,
		Clients: []client{{address, limiter.Limit{Capacity: 1000, RatePerSecond: 0.0005}, 4_000_000, 500, spread}},
	}
}

// runAlone runs a scenario of one client, and fails the test if it passes a bound.
func runAlone(t *testing.T, s scenario) (c *subject) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := run(s)
		for _, fault := range w.faults() {
			t.Errorf("%v%s", &s, fault)
		}
		c = w.subjects[0]
	})
	return c
}

// since counts the times from a time on.
func since(from time.Duration, times []time.Duration) (n int) {
	for _, at := range times {
		if at >= from {
			n++
		}
	}
	return n
}

// TestRejectionsAreFree: once all instances know that a bucket is empty, no request is brought to the
// central state.
func TestRejectionsAreFree(t *testing.T) {
	c := runAlone(t, drained(5))
	var told []time.Duration
	for _, charge := range c.charges {
		told = append(told, charge.at)
	}
	const settled = 6 * time.Second
	if asked := since(settled, c.arrivals); asked < 5000 || c.rejected < asked {
		t.Fatalf("%d requests came late, %d were rejected in all", asked, c.rejected)
	}
	if n := since(settled, told); n > 0 {
		t.Errorf("the central state was told %d times of a client that has spent all, want 0", n)
	}
}

// TestLostDataIsRestored: what the central state loses, the instances write back, so that one which has
// never heard of the client gives it nothing.
func TestLostDataIsRestored(t *testing.T) {
	const lost, started = 5 * time.Second, 7 * time.Second
	c := runAlone(t, drained(5, event{At: lost, What: wipe}, event{At: started, What: start}))
	times := c.times(together, alone, unclear)
	if n := since(started, times); len(times) < 1000 || n > 0 {
		t.Errorf("%d requests were let through, %d of them after the instances had written the debts back", len(times), n)
	}
}

// TestCrashForgetsLittle: an instance that crashes takes what it has not told along, at most its credit.
func TestCrashForgetsLittle(t *testing.T) {
	var events []event
	for n := range 8 {
		events = append(events,
			event{At: time.Duration(3000+n*500) * time.Millisecond, What: crash, Instance: n},
			event{At: time.Duration(3100+n*500) * time.Millisecond, What: start})
	}
	c := runAlone(t, drained(5, events...))
	if n := len(c.admitted); n < 1000 {
		t.Errorf("%d requests were let through, want 1,000 at least", n)
	}
}

// TestStartGrantsNothing: an instance that starts takes requests before its first beat is answered, and
// lets none through that the others have.
func TestStartGrantsNothing(t *testing.T) {
	var events []event
	for n := range 8 {
		events = append(events, event{At: time.Duration(4000+n*500) * time.Millisecond, What: start})
	}
	s := drained(5, events...)
	s.Clients[0].Burst, s.Clients[0].Load = 1, 2_000_000 // a request a millisecond
	c := runAlone(t, s)
	if n := len(c.admitted); n < 1000 || n > 1125 || since(4*time.Second, c.times(together, alone, unclear)) > 0 {
		t.Errorf("%d requests were let through, %d of them after the first started", n, since(4*time.Second, c.times(together, alone, unclear)))
	}
}

// TestChecksNotice: a central state that gives too much does not go unnoticed.
func TestChecksNotice(t *testing.T) {
	s := drained(5)
	s.Generous = true
	synctest.Test(t, func(t *testing.T) {
		if faults := run(s).faults(); len(faults) == 0 {
			t.Error("the central state grants whatever is asked, and no check fails")
		}
	})
}

func TestOutrunIsThatOfTheWorstWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, 10).Draw(t, "at")) * time.Second
		}), 0, 20).Draw(t, "times")
		slices.Sort(times)
		refill := func(at time.Duration) float64 { return 0.5 * at.Seconds() }
		want := 0.0
		for i := range times {
			for j := i; j < len(times); j++ {
				want = max(want, float64(j-i+1)-refill(times[j])+refill(times[i]))
			}
		}
		if got, _, _ := outrun(times, refill); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}
