package main

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Each instance that knows only its own requests grants the whole limit in a burst, however often the
// instances tell each other.
func TestEachInstanceGrantsBurst(t *testing.T) {
	limits := overloadLimits()
	for _, c := range append(simulated(), contender{name: "each instance alone", open: openAlone}) {
		synctest.Test(t, func(t *testing.T) {
			f := open(t, c, "", limits)
			time.Sleep(time.Nanosecond) // the limiter's first moment is 1 ns, and in a bubble of synctest no time passes by itself
			for i, r := range overload(f, limits, 0) {
				assertExcess(t, c, limits[i], r.ofBurst(), int(limits[i].tokens)*(instances-1))
			}
		})
	}
}

// What Gubernator grants too much grows with time where more than a token comes in the time after
// which it tells.
func TestGubernatorGrantsRateOfEachInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit{1000, 10 * time.Second}
		f := open(t, contender{open: openGubernator}, "", []limit{l})
		for _, r := range overload(f, []limit{l}, 10*time.Second) {
			if got := excess(r.grants, l); got < 3500 || got > 4000 {
				t.Errorf("%d too many in 10 s, expected that the burst and every second take about three times the limit", got)
			}
		}
	})
}

// Libraries that ask Redis for each request keep the limit.
func TestLibrariesKeepLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	limits := overloadLimits()
	for _, c := range libraries() {
		results, err := runOverload(t.Context(), c, s, limits, 1500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for i, r := range results {
			assertExcess(t, c, limits[i], r.grants, 0)
			failed += r.failed
		}
		if gaveUp := failed > 0; gaveUp != (c.name == "throttled/throttled") {
			t.Errorf("%s decided nothing of %d requests; throttled gives up where it is overtaken ten times, the others do not", c.name, failed)
		}
	}
}

// A limit that is shared is exact where capacity/8 is less than a token for each instance, and
// otherwise exceeded by that at most.
func TestSharedKeepsLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	limits := overloadLimits()
	c := contender{name: "this limiter, shared", open: sharedWith(time.Second)}
	results, err := runOverload(t.Context(), c, s, limits, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		credit := limits[i].tokens / (8 * instances)
		if got := excess(r.grants, limits[i]); got > int(instances*credit) {
			t.Errorf("%d too many with %d at %g a second, expected %d at most", got, limits[i].tokens, limits[i].perSecond(), instances*credit)
		}
		if got := r.ofLimit(limits[i]); got < 0.95 {
			t.Errorf("%.1f %% of the limit of %d at %g a second", 100*got, limits[i].tokens, limits[i].perSecond())
		}
	}
}

// A request waits for Redis only if the client is near its limit.
func TestSharedWaits(t *testing.T) {
	c := contender{name: "this limiter, shared", open: sharedWith(time.Second)}
	for i, want := range []int{0, 1, 0} {
		t.Run(kinds()[i].name, func(t *testing.T) {
			t.Parallel()
			assertWaits(t, newServer(t), c, kinds()[i], want)
		})
	}
}

func TestLibrariesWait(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	want := map[string]int{"throttled/throttled": 2, "go-redis/redis_rate": 1, "sethvargo/go-redisstore": 1}
	for _, c := range libraries() {
		assertWaits(t, s, c, kinds()[0], want[c.name])
	}
}

// assertWaits expects that every request waits for so many round trips or more, or with 0 that half of
// the requests wait for none. A machine with other work makes them no fewer.
func assertWaits(t *testing.T, s *server, c contender, k kind, roundTrips int) {
	t.Helper()
	got, err := measureCost(t.Context(), c, k, s, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got.failed > 0 {
		t.Errorf("%s decided nothing of %d requests %s", c.name, got.failed, k.name)
	}
	if least := float64(roundTrips); got.fewest < roundTrips || got.commands < least || roundTrips == 0 && got.roundTrips > 0.5 {
		t.Errorf("%s: a request %s waits for %d round trips or more, half of them for %.1f at most, and has %.2f commands; expected %d round trips",
			c.name, k.name, got.fewest, got.roundTrips, got.commands, roundTrips)
	}
}

func TestExcess(t *testing.T) {
	at := func(times ...time.Duration) (all []grant) {
		for _, called := range times {
			all = append(all, grant{called: called * time.Second, decided: called*time.Second + time.Millisecond})
		}
		return all
	}
	l := limit{2, 2 * time.Second}
	for _, c := range []struct {
		name   string
		grants []grant
		want   int
	}{
		{"none", nil, 0},
		{"capacity", at(0, 0), 0},
		{"three more", at(0, 0, 0, 0, 0, 0), 3}, // and a thousandth of a token less
		{"refilled", at(0, 0, 1, 2, 3), 0},
		{"saved up without bound", at(0, 9, 9, 9, 9), 1},
		{"decided at some time in 9 s", slices.Repeat([]grant{{decided: 9 * time.Second}}, 4), 0},
	} {
		if got := excess(c.grants, l); got != c.want {
			t.Errorf("%s: %d too many, expected %d", c.name, got, c.want)
		}
	}
}

func open(t *testing.T, c contender, server string, limits []limit) fleet {
	t.Helper()
	f, err := c.open(server, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func assertExcess(t *testing.T, c contender, l limit, grants []grant, want int) {
	t.Helper()
	if got := excess(grants, l); got != want {
		t.Errorf("%s grants %d too many with %d at %g a second, expected %d", c.name, got, l.tokens, l.perSecond(), want)
	}
}

// newServer skips the test where there is no server, or fails it if REQUIRE_TOOLS is set.
func newServer(t *testing.T) *server {
	t.Helper()
	if _, err := findServer(); err != nil {
		if os.Getenv("REQUIRE_TOOLS") != "" {
			t.Fatalf("REQUIRE_TOOLS is set, but there is no server: %v", err)
		}
		t.Skipf("no redis-server or valkey-server: %v", err)
	}
	s, err := startServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
