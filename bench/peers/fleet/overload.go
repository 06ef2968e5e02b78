package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	burst   = 5 // times a client's capacity, at once
	offered = 5 // times its rate, afterwards
)

// grant is a request that was let through, by when it came and when it was decided.
type grant struct {
	called, decided time.Duration
	burst           bool
}

// overloaded is what a client got.
type overloaded struct {
	grants []grant
	failed int           // requests that the limiter did not decide
	last   time.Duration // when the last request was sent
}

func (o overloaded) ofBurst() []grant {
	return slices.DeleteFunc(slices.Clone(o.grants), func(g grant) bool { return !g.burst })
}

// ofLimit is what the client got, as a part of what the limit allows from the first grant until the
// last request.
func (o overloaded) ofLimit(l limit) float64 {
	if len(o.grants) == 0 {
		return 0
	}
	first := slices.MinFunc(o.grants, func(a, b grant) int { return cmp.Compare(a.decided, b.decided) })
	return float64(len(o.grants)) / (float64(l.tokens) + (o.last-first.decided).Seconds()*l.perSecond())
}

// overload has all clients send a burst at once and then, for so long, more than their rate. Requests
// go to the instances in turn.
func overload(f fleet, limits []limit, lasts time.Duration) []overloaded {
	results := make([]overloaded, len(limits))
	var clients sync.WaitGroup
	begin := time.Now()
	for client, l := range limits {
		clients.Go(func() {
			r := recorder{fleet: f, client: client, begin: begin}
			for range burst * l.tokens {
				r.send(true)
			}
			interval := time.Duration(float64(time.Second) / (offered * l.perSecond()))
			for due := time.Since(begin); due < lasts; due += interval {
				time.Sleep(due - time.Since(begin))
				r.send(false)
			}
			r.running.Wait()
			results[client] = overloaded{r.grants, r.failed, r.last}
		})
	}
	clients.Wait()
	return results
}

// recorder sends the requests of a client.
type recorder struct {
	fleet   fleet
	client  int
	begin   time.Time
	sent    int
	last    time.Duration // when the last request was sent
	running sync.WaitGroup

	mu     sync.Mutex
	grants []grant
	failed int
}

func (r *recorder) send(burst bool) {
	instance := r.sent % instances
	r.sent++
	r.last = time.Since(r.begin)
	r.running.Go(func() {
		called := time.Since(r.begin)
		granted, err := r.fleet.take(instance, r.client)
		decided := time.Since(r.begin)
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err != nil:
			r.failed++
		case granted:
			r.grants = append(r.grants, grant{called, decided, burst})
		}
	})
}

// excess returns how many of the grants are more than the limit allows: the most, over all spans of
// time, that were both asked for and decided within the span, less the capacity and what is refilled
// in it. As a decision falls at some time between the two, this is a lower bound of the true excess,
// and 0 for a limiter that keeps the limit.
func excess(grants []grant, l limit) int {
	byDecision := slices.Clone(grants)
	slices.SortFunc(byDecision, func(a, b grant) int { return cmp.Compare(a.decided, b.decided) })
	most := 0.0
	for _, first := range grants {
		within := 0
		for _, g := range byDecision {
			if g.called < first.called {
				continue
			}
			within++
			allowed := float64(l.tokens) + (g.decided-first.called).Seconds()*l.perSecond()
			most = max(most, float64(within)-allowed)
		}
	}
	return int(most)
}
