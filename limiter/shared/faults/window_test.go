package faults

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// backend logs what it is asked. It answers at once.
type backend struct {
	url   string
	begun time.Time
	mu    sync.Mutex
	seen  map[string][]passed // by key
}

// passed is a request that was let through, at some moment between the two. They count from when the
// backend began.
type passed struct {
	sent, arrived time.Duration
	instance      string
}

// startBackend starts a backend, which ends with the test.
func startBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{begun: time.Now(), seen: map[string][]passed{}}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived := time.Since(b.begun)
		sent, _ := strconv.ParseInt(r.Header.Get(sentField), 10, 64)
		b.mu.Lock()
		defer b.mu.Unlock()
		key := r.Header.Get(keyField)
		b.seen[key] = append(b.seen[key], passed{time.Duration(sent), arrived, r.Header.Get(instanceField)})
	}))
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

// now returns the time since the backend began.
func (b *backend) now() time.Duration { return time.Since(b.begun) }

// of returns what the backend has seen of a client, once for each request, by the time of arrival.
func (b *backend) of(client string) (all []passed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	repeated := map[passed]bool{} // by a retry; no two requests of a client are sent in the same nanosecond
	for _, p := range b.seen[keyOf(client)] {
		request := passed{sent: p.sent, instance: p.instance}
		if !repeated[request] {
			repeated[request] = true
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b passed) int { return cmp.Compare(a.arrived, b.arrived) })
	return all
}

// within returns those that were certainly let through between two moments.
func within(all []passed, from, until time.Duration) (some []passed) {
	for _, p := range all {
		if p.sent >= from && p.arrived <= until {
			some = append(some, p)
		}
	}
	return some
}

// by returns those that an instance has let through.
func by(all []passed, b *instance) (some []passed) {
	for _, p := range all {
		if p.instance == b.number {
			some = append(some, p)
		}
	}
	return some
}

// mostOf returns the most tokens beyond the refill that have been spent in any window: of all requests
// that were sent and arrived in it, and so have been let through in it, less what comes back in that
// time. The requests are in the order of their arrival. No slack is needed: when a request was let
// through is not known, but that it was in the window is.
func mostOf(all []passed, rate float64) (most float64) {
	begins := make([]time.Duration, len(all))
	for i, p := range all {
		begins[i] = p.sent
	}
	slices.Sort(begins)
	spent := make([]int, len(begins)) // since each begin
	for _, p := range all {
		for i, from := range begins {
			if from > p.sent {
				break
			}
			spent[i]++
			most = max(most, float64(spent[i])-rate*(p.arrived-from).Seconds())
		}
	}
	return most
}

func TestMostOf(t *testing.T) {
	at := func(moments ...time.Duration) (all []passed) { // sent and arrived, by turns, in milliseconds
		for pair := range slices.Chunk(moments, 2) {
			all = append(all, passed{sent: pair[0] * time.Millisecond, arrived: pair[1] * time.Millisecond})
		}
		return all
	}
	for name, c := range map[string]struct {
		all  []passed
		rate float64
		want float64
	}{
		"nothing":            {nil, 1, 0},
		"one":                {at(0, 0), 1, 1},
		"without a refill":   {at(0, 0, 1000, 1000, 9000, 9000), 0, 3},
		"the whole window":   {at(0, 0, 100, 100, 200, 200), 1, 2.8},
		"a later window":     {at(0, 0, 5000, 5000, 5100, 5100), 1, 1.9},
		"sent before it":     {at(0, 5000, 5000, 5000, 5100, 5100), 1, 1.9},
		"arrives after it":   {at(5000, 5000, 5100, 5100, 5050, 9000), 1, 1.9},
		"sent in one moment": {at(0, 100, 0, 100, 0, 100), 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := mostOf(c.all, c.rate); max(got-c.want, c.want-got) > 1e-9 {
				t.Errorf("got %g, want %g", got, c.want)
			}
		})
	}
}

// wasted returns the tokens that have come back in vain between two moments, as the bucket was full: a
// client that asks for less than its rate has no right to them. The requests are in the order of their
// arrival.
func wasted(all []passed, rate float64, from, until time.Duration) (tokens float64) {
	spent, last := 0.0, from // what the bucket lacks
	pass := func(to time.Duration) {
		back := rate * (to - last).Seconds()
		tokens += max(0, back-spent)
		spent, last = max(0, spent-back), to
	}
	for _, p := range all {
		if p.arrived > until {
			break
		}
		pass(p.arrived)
		spent++
	}
	pass(until)
	return tokens
}

func TestWasted(t *testing.T) {
	at := func(moments ...time.Duration) (all []passed) { // in seconds
		for _, m := range moments {
			all = append(all, passed{arrived: m * time.Second})
		}
		return all
	}
	for name, c := range map[string]struct {
		all  []passed
		want float64
	}{
		"nothing spent":        {nil, 20},
		"one at once":          {at(10), 19},
		"three at once":        {at(10, 10, 10), 17},
		"more than comes back": {at(10, 10, 10, 11, 11, 11, 19, 19, 19, 19), 12},
		"one after it":         {at(10, 21), 19},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wasted(c.all, 2, 10*time.Second, 20*time.Second); got != c.want {
				t.Errorf("got %g, want %g", got, c.want)
			}
		})
	}
}
