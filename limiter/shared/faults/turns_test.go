package faults

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loadbalancer/bench/balancer"
	"loadbalancer/limiter/shared/redistest"
)

// pair starts two instances on one server, which have credit.
func pair(t *testing.T, limits ...limit) (*setup, *redistest.Server, []*instance) {
	t.Helper()
	server := redistest.Start(t, redistest.Options{})
	s := &setup{backend: startBackend(t), wait: time.Second, limits: limits}
	return s, server, s.share(t, server.URL(), server.URL())
}

// turns sends requests of a client to the instances by turns, until so many in a row are rejected, and
// returns how many passed.
func turns(t *testing.T, client limit, all ...*instance) (count int) {
	t.Helper()
	const inRow = 20
	for n, rejected := 0, 0; rejected < inRow; n++ {
		switch a := all[n%len(all)].ask(client.name); a.status {
		case 200:
			count++
			rejected = 0
		case 429:
			rejected++
		default:
			t.Fatalf("a request got %+v", a)
		}
	}
	return count
}

// tab is what a client has got of two instances, and what was due to it.
type tab struct {
	limit
	all         []*instance
	passed, due int
	credited    int // the largest credit so far
	forgiven    int // what resets may have forgiven: a bucket that is filled owes none of the credits
	begun       time.Time
}

// spend has the client spend all it can, which is so much more than before, beside the refill and the
// credit.
func (c *tab) spend(t *testing.T, what string, more int) {
	t.Helper()
	got := turns(t, c.limit, c.all...)
	c.passed, c.due, c.credited = c.passed+got, c.due+more, max(c.credited, c.credit(len(c.all)))
	most := float64(c.due+len(c.all)*c.credited+c.forgiven) + c.rate*time.Since(c.begun).Seconds()
	t.Logf("%s: %d passed, %d in all of %d", what, got, c.passed, c.due)
	if c.passed < c.due || float64(c.passed) > most+clocks {
		t.Errorf("%s: %d passed in all, want %d, at most %.1f", what, c.passed, c.due, most)
	}
}

// change gives the client another capacity, at each instance.
func (c *tab) change(t *testing.T, capacity int) {
	t.Helper()
	c.capacity = capacity
	for _, b := range c.all {
		b.api(t, 200, "PUT", "/clients/"+c.name, fmt.Sprintf(`{"capacity":%d,"rate_per_second":%g}`, capacity, c.rate))
	}
}

// A client gets its limit once of two instances, not once of each, and a change of the limit gives none
// of it again.
func TestTurns(t *testing.T) {
	t.Parallel()
	client := limit{"acme", 100, 0.01}
	s, _, all := pair(t, client)
	c := &tab{limit: client, all: all, begun: time.Now()}
	c.spend(t, "a capacity of 100", 100)
	c.change(t, 50)
	before := c.passed
	if c.spend(t, "a capacity of 50", 0); c.passed > before {
		t.Errorf("after a change to a capacity of 50, %d passed", c.passed-before)
	}
	c.change(t, 200)
	c.spend(t, "a capacity of 200", 100)
	if seen := len(s.backend.of(client.name)); seen != c.passed {
		t.Errorf("the backend has seen %d requests, %d passed", seen, c.passed)
	}
}

// A reset at one instance fills the bucket once, for both. The other one hears of it when it has a token
// again by what it knows.
func TestReset(t *testing.T) {
	t.Parallel()
	client := limit{"acme", 50, 1}
	_, _, all := pair(t, client)
	c := &tab{limit: client, all: all, begun: time.Now()}
	c.spend(t, "at first", 50)
	for i, b := range all {
		other := all[1-i]
		again := 1 + 2*len(all)*client.credit(len(all)) // tokens that it may lack, and one
		b.api(t, 204, "POST", "/clients/"+client.name+"/reset", "")
		c.forgiven += len(all) * client.credit(len(all))
		took := balancer.WaitFor(t, time.Duration(again)*time.Second, "the other instance to hear of the reset", func() bool { return other.ask(client.name).status == 200 })
		t.Logf("the other instance heard of the reset after %s", took)
		c.passed++
		c.spend(t, "after a reset", 50)
	}
}

// A rejection asks no other instance and no server: a flood of them costs Redis nothing.
func TestRejectedFlood(t *testing.T) {
	t.Parallel()
	client := limit{"flooder", 100, 0.01}
	_, server, all := pair(t, client)
	turns(t, client, all...)
	const requests, senders = 10_000, 8
	before, begun := calls(t, server), time.Now()
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for n := range requests / senders {
				if a := all[(sender+n)%len(all)].ask(client.name); a.isFailure() {
					t.Errorf("a request got %+v", a)
					return
				}
			}
		})
	}
	sending.Wait()
	told := calls(t, server) - before
	t.Logf("%d requests in %s: %d calls of the script", requests, time.Since(begun).Round(time.Millisecond), told)
	if told > 10 {
		t.Errorf("%d rejected requests cost %d calls of the script", requests, told)
	}
}

// calls returns how often a server was told something.
func calls(t *testing.T, server *redistest.Server) (count int) {
	t.Helper()
	for line := range strings.Lines(server.Do("INFO", "commandstats")) {
		if rest, found := strings.CutPrefix(line, "cmdstat_evalsha:calls="); found {
			number, _, _ := strings.Cut(rest, ",")
			var err error
			if count, err = strconv.Atoi(number); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	if count == 0 {
		t.Fatal("the server was told nothing")
	}
	return count
}
