// Package model runs instances of the limiter that share limits, as many as are wanted, in the time of
// testing/synctest: with a model of the central state, and of a network that delays, reorders and loses.
package model

import (
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var long = flag.Bool("long", false, "run the long forms")

// TestQuietFleet: while nothing goes wrong, no window admits more than the limit and the credits, a
// client without credit has its limit exactly, and all have 99.5 % of what they are entitled to.
func TestQuietFleet(t *testing.T) {
	checkFleet(t, shape{quick: true, kinds: []kind{address, keyed, ranged}})
}

// TestFleet: whatever goes wrong, no window admits more than the bounds of docs/fleet.md.
func TestFleet(t *testing.T) {
	checkFleet(t, shape{
		lossy: true, most: 4, kinds: []kind{address, keyed, ranged, each, unregistered},
		events: []happening{crash, start, cut, freeze, wipe, failover, change, reset},
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
