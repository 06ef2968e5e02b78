package main

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
)

// A store of a thousand keys forgets who owes when a thousand others come by.
func TestFloodResetsDebtor(t *testing.T) {
	l := limit{tokens: 10, period: time.Hour}
	for name, c := range map[string]struct {
		take  func(client) bool
		after int
	}{
		"throttled/throttled": {throttledOn(t, newMemstore(t, 1000), l), 10},
		"this limiter":        {ourKeyed(t, l, 1000), 0},
	} {
		debtor := oneOf(c.take)
		assertGranted(t, name, granted(20, debtor), 10)
		for i := range 2000 {
			c.take(clientOf(i + 1))
		}
		assertGranted(t, name+" after the flood", granted(20, debtor), c.after)
	}
}

func ourKeyed(t *testing.T, l limit, tracked int) func(client) bool {
	t.Helper()
	lim := newLimiter(t, l, tracked)
	return func(c client) bool { return admits(lim, lim.Identify(c.addr, nil), time.Now()) }
}

// Who sends from many addresses takes as much memory as he likes.
func TestMemoryWithoutBound(t *testing.T) {
	const clients = 200_000
	l := limit{tokens: 1, period: time.Hour}
	for _, c := range []struct {
		name    string
		keyed   func(testing.TB, limit) func(client) bool
		atLeast int64 // bytes per client
		atMost  int64
	}{
		{"throttled/throttled", newThrottled, 30, 1000},
		{"sethvargo/go-limiter", newSethvargo, 80, 1000},
		{"ulule/limiter", newUlule, 100, 1000},
		{"this limiter", func(testing.TB, limit) func(client) bool { return ourKeyed(t, l, 1000) }, 0, 1},
	} {
		if held := heldFor(c.keyed(t, l), clients, 0); held < c.atLeast*clients || held > c.atMost*clients {
			t.Errorf("%s holds %d bytes for %d clients, expected %d to %d for each", c.name, held, clients, c.atLeast, c.atMost)
		}
	}

	synctest.Test(t, func(t *testing.T) {
		const year = 365 * 24 * time.Hour
		if held := heldFor(newThrottled(t, l), clients, year); held < 30*clients {
			t.Errorf("throttled/throttled holds %d bytes for %d clients after a year, expected what it held at first", held, clients)
		}
	})
}

// heldFor returns by how many bytes the heap is larger so long after so many clients came by.
func heldFor(take func(client) bool, clients int, idle time.Duration) int64 {
	before := heap()
	for i := range clients {
		take(clientOf(i))
	}
	time.Sleep(idle)
	held := heap() - before
	runtime.KeepAlive(take)
	return held
}

// The sweep visits every key under the lock that each request needs.
func TestSweepStopsEverybody(t *testing.T) {
	const interval, attempts = 200 * time.Millisecond, 5
	withClients := func(clients int) func() bool {
		take := sethvargoOn(newSethvargoStore(t, memorystore.Config{
			Tokens: 1000, Interval: time.Hour, SweepInterval: interval, InitialAlloc: clients,
		}))
		for i := range clients {
			take(clientOf(i))
		}
		return oneOf(take)
	}
	many, one := withClients(500_000), withClients(1)
	for range attempts { // other processes may stop requests too
		ofMany, ofOne := shortestOfLongest(3, 2*interval, many), shortestOfLongest(3, 2*interval, one)
		t.Logf("each sweep stops a request for %s with 500,000 clients, %s with one", ofMany, ofOne)
		if ofMany > 5*time.Millisecond && ofMany > 2*ofOne {
			return
		}
	}
	t.Errorf("sweeps of sethvargo/go-limiter did not stop requests in %d attempts", attempts)
}

// shortestOfLongest returns the longest time that a request takes in a period, in that of the
// periods in which it is shortest: what happens now and then, such as a pause of the machine, does
// not count.
func shortestOfLongest(periods int, period time.Duration, take func() bool) time.Duration {
	shortest := period
	for range periods {
		longest := time.Duration(0)
		for begin := time.Now(); time.Since(begin) < period; {
			asked := time.Now()
			take()
			longest = max(longest, time.Since(asked))
		}
		shortest = min(shortest, longest)
	}
	return shortest
}
