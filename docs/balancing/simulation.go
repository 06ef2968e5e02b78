package main

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/balance"
)

// The pool: each backend serves some requests at once, and queues the others in order.
const (
	backends = 10
	workers  = 4
	perSec   = 2400 // requests, at random times: three fifths of what the backends can do
	clients  = 10000
	warmUp   = 2 * time.Second // not counted
	length   = 12 * time.Second
)

// least and mean are of the time that a backend works at a request: mean-least has an exponential
// distribution.
const (
	least = 2 * time.Millisecond
	mean  = 10 * time.Millisecond
)

// scenario is what is wrong with backend 0.
type scenario struct {
	name string
	// state returns how backend 0 is at a time: how many times longer it works, and whether it
	// fails each request at once.
	state func(now time.Duration) (factor float64, fails bool)
}

var scenarios = []scenario{
	{"equal", func(time.Duration) (float64, bool) { return 1, false }},
	{"one slow", func(time.Duration) (float64, bool) { return 5, false }},
	{"one failing fast", func(time.Duration) (float64, bool) { return 1, true }},
	{"one restarting", restarting},
}

// restarting refuses connections for two seconds, and then is cold: it takes twice the time for two
// seconds.
func restarting(now time.Duration) (factor float64, fails bool) {
	const from, until, warm = 4 * time.Second, 6 * time.Second, 8 * time.Second
	switch {
	case now < from || now >= warm:
		return 1, false
	case now < until:
		return 1, true
	}
	return 2, false
}

// refused is how long it takes to fail at once.
const refused = 200 * time.Microsecond

// run is the traffic of one policy in one scenario.
type run struct {
	scenario scenario
	set      *balance.Set
	backends [backends]backend
	events   events
	now      time.Duration
	took     []time.Duration // of each request after the warm-up
}

// backend has the requests that wait for a worker, the first of which is next.
type backend struct {
	load    balance.Load
	busy    int
	waiting []request
}

type request struct {
	began time.Duration
	work  time.Duration
}

// event is the end of a request at a backend.
type event struct {
	at      time.Duration
	backend int
	request request
	failed  bool
}

// events are ordered by time.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// outcome is what clients saw. A request that failed counts as slower than any, since an error that
// comes fast is no fast answer; never stands for its time.
type outcome struct {
	p50, p99 time.Duration
	errors   float64 // share of all requests
}

// never is the time of a request that failed.
const never = time.Duration(math.MaxInt64)

// simulate sends the requests of a seed, which are the same for every policy.
func simulate(p balance.Policy, s scenario, seed uint64) outcome {
	r := run{scenario: s}
	members := make([]balance.Member, backends)
	for i := range members {
		members[i] = balance.Member{Weight: 1, Hash: balance.StringKey(fmt.Sprintf("http://10.0.0.%d:80", i+1)), Load: &r.backends[i].load}
	}
	r.set = balance.NewSet(p, members, new(atomic.Uint64))
	traffic, draws := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	for at := time.Duration(0); at < length; at += exponential(traffic, time.Second/perSec) {
		r.endUntil(at)
		client := balance.StringKey(fmt.Sprint(traffic.IntN(clients)))
		work := least + exponential(traffic, mean-least)
		r.begin(request{at, work}, r.set.Pick(balance.Request{Key: client, Now: at, Random: draws.Uint64()}))
	}
	r.endUntil(length)
	r.giveUp()
	return r.outcome()
}

func (r *run) outcome() (o outcome) {
	slices.Sort(r.took)
	n := len(r.took)
	failed, _ := slices.BinarySearch(r.took, never)
	return outcome{r.took[n/2], r.took[n*99/100], float64(n-failed) / float64(n)}
}

func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}

// begin sends a request to a backend.
func (r *run) begin(q request, at int) {
	b := &r.backends[at]
	r.now = q.began
	b.load.InFlight.Add(1)
	if _, fails := r.state(at); fails {
		heap.Push(&r.events, event{r.now + refused, at, q, true})
	} else if b.busy < workers {
		r.work(at, q)
	} else {
		b.waiting = append(b.waiting, q)
	}
}

// work has a free worker of the backend work at a request.
func (r *run) work(at int, q request) {
	factor, _ := r.state(at)
	r.backends[at].busy++
	heap.Push(&r.events, event{r.now + time.Duration(factor*float64(q.work)), at, q, false})
}

func (r *run) state(at int) (factor float64, fails bool) {
	if at != 0 {
		return 1, false
	}
	return r.scenario.state(r.now)
}

// endUntil ends the requests that end before a time.
func (r *run) endUntil(t time.Duration) {
	for len(r.events) > 0 && r.events[0].at <= t {
		e := heap.Pop(&r.events).(event)
		r.now = e.at
		b := &r.backends[e.backend]
		b.load.InFlight.Add(-1)
		took := e.at - e.request.began
		if e.failed {
			b.load.Failed(e.at, took)
		} else {
			b.load.Answered(e.at, took)
			b.busy--
			if len(b.waiting) > 0 {
				next := b.waiting[0]
				b.waiting = b.waiting[1:]
				r.work(e.backend, next)
			}
		}
		r.note(e.request, took, e.failed)
	}
}

// giveUp counts the requests that have not ended yet as having taken the time until now.
func (r *run) giveUp() {
	for i := range r.backends {
		for _, q := range r.backends[i].waiting {
			r.note(q, length-q.began, false)
		}
	}
	for _, e := range r.events {
		r.note(e.request, length-e.request.began, e.failed)
	}
}

// note counts a request, unless it began in the warm-up.
func (r *run) note(q request, took time.Duration, failed bool) {
	if failed {
		took = never
	}
	if q.began >= warmUp {
		r.took = append(r.took, took)
	}
}
