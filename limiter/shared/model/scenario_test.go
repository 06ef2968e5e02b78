package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"loadbalancer/limiter"
)

// scenario is all that happens in a run, except for the order in which goroutines run that are ready
// at the same moment.
type scenario struct {
	Seed      uint64 // of the arrivals and of the network
	Length    time.Duration
	Instances int           // at the start
	Wait      time.Duration // limiter.share_wait
	Network   network
	Clients   []client
	Events    []event // in the order of their times
	Generous  bool    // the central state grants whatever is asked, so that the checks have something to find
}

// network is what lies between the instances and the central state.
type network struct {
	Least, Jitter time.Duration // of one way, and the mean of what comes on top
	LostRequests  float64       // the part of the messages
	LostReplies   float64
	Patience      time.Duration // after which a message without a reply has failed
	Reorders      bool          // what an instance sends may arrive in another order, as over several connections
}

type client struct {
	Kind  kind
	Limit limiter.Limit
	Load  float64 // requests, in multiples of the rate
	Burst int     // requests that come at once
	Route route
}

type kind int

const (
	address kind = iota
	keyed
	ranged
	each         // one address in a range with Terms.Each
	unregistered // by the default limit
)

var kinds = []string{"address", "keyed", "ranged", "each", "unregistered"}

func (k kind) String() string { return kinds[k] }

// isSilent reports whether the central state hears of the client only once half of its bucket is spent.
func (k kind) isSilent() bool { return k == each || k == unregistered }

// route is which instances the requests of a client come to.
type route int

const (
	spread    route = iota // each to any
	sticky                 // all to one
	wandering              // all to one, and to another half a second later
	lopsided               // nine of ten to one
	ambush                 // a burst to one, and as many to all others before these can have heard of it
)

func (r route) String() string {
	return [...]string{"spread", "sticky", "wandering", "lopsided", "ambush"}[r]
}

// event is something that goes wrong, or is changed.
type event struct {
	At       time.Duration
	What     happening
	Instance int           // modulo those that there are
	For      time.Duration // of cut and freeze; of failover, what the replica had missed
	Client   int
	Limit    limiter.Limit
}

type happening int

const (
	crash    happening = iota // of an instance
	stop                      // of an instance, which tells what is left
	start                     // of another
	cut                       // an instance from the central state
	freeze                    // the central state: it takes what came meanwhile afterwards
	wipe                      // the central state
	failover                  // to a replica that has missed something
	change                    // the limit of a client
	reset                     // the bucket of a client, through an instance
)

var happenings = []string{"crash", "stop", "start", "cut", "freeze", "wipe", "failover", "change", "reset"}

func (h happening) String() string { return happenings[h] }

// has reports whether any of these happens.
func (s *scenario) has(any ...happening) bool {
	return slices.ContainsFunc(s.Events, func(e event) bool { return slices.Contains(any, e.What) })
}

// isQuiet reports whether every message is answered within the time that a request waits, and
// nothing happens.
func (s *scenario) isQuiet() bool {
	return len(s.Events) == 0 && s.Network.LostReplies == 0 && s.Network.LostRequests == 0 && 2*s.Network.longest() < s.Wait
}

// isUnreliable reports whether messages may be lost, or come late.
func (s *scenario) isUnreliable() bool {
	return s.Network.LostReplies > 0 || s.Network.LostRequests > 0 || s.has(cut, freeze)
}

// longest is the longest time of one way.
func (n *network) longest() time.Duration { return n.Least + 4*n.Jitter }

func (s *scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %v, %d instances, wait %v, %+v\n", s.Seed, s.Length, s.Instances, s.Wait, s.Network)
	for i, c := range s.Clients {
		fmt.Fprintf(&b, "client %d: %v\n", i, c)
	}
	for _, e := range s.Events {
		fmt.Fprintf(&b, "event: %v\n", e)
	}
	return b.String()
}

// shape bounds what is drawn.
type shape struct {
	requests int           // of one client, about
	length   time.Duration // at most
	events   []happening   // that may happen
	most     int           // of them
	lossy    bool
	quick    bool // the network answers in time
	kinds    []kind
}

// draw draws a scenario.
func draw(t *rapid.T, in shape) scenario {
	s := scenario{
		Seed:      rapid.Uint64().Draw(t, "seed"),
		Length:    time.Duration(rapid.Int64Range(int64(4*time.Second), int64(in.length)).Draw(t, "length")),
		Instances: rapid.IntRange(1, 10).Draw(t, "instances"),
		Wait:      5 * time.Millisecond,
		Network:   drawNetwork(t, in),
	}
	for range rapid.IntRange(1, 3).Draw(t, "clients") {
		s.Clients = append(s.Clients, drawClient(t, in, s.Length))
		if s.Clients[len(s.Clients)-1].Kind == unregistered { // there is one default limit
			in.kinds = slices.DeleteFunc(slices.Clone(in.kinds), func(k kind) bool { return k == unregistered })
		}
	}
	for range rapid.IntRange(0, in.most).Draw(t, "events") {
		s.Events = append(s.Events, drawEvent(t, in, &s))
	}
	slices.SortStableFunc(s.Events, func(a, b event) int { return int(a.At - b.At) })
	return s
}

func drawNetwork(t *rapid.T, in shape) network {
	micro := func(least, most int64, name string) time.Duration {
		return time.Duration(rapid.Int64Range(least, most).Draw(t, name)) * time.Microsecond
	}
	n := network{
		Least:    micro(50, 500, "least delay"),
		Jitter:   micro(0, 450, "jitter"),
		Patience: micro(6_000, 200_000, "patience"),
	}
	if !in.quick && rapid.Bool().Draw(t, "slow network") {
		n.Jitter = micro(500, 4_000, "jitter of a slow network")
	}
	if in.lossy && rapid.Bool().Draw(t, "lossy network") {
		n.LostRequests = rapid.Float64Range(0, 0.3).Draw(t, "lost requests")
		n.LostReplies = rapid.Float64Range(0, 0.3).Draw(t, "lost replies")
		n.Reorders = rapid.Bool().Draw(t, "reorders")
	}
	return n
}

func drawLimit(t *rapid.T, in shape, load float64, length time.Duration) limiter.Limit {
	capacity := rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, 300), rapid.Int64Range(1, 2000)).Draw(t, "capacity")
	fill := rapid.Float64Range(0.3, 30).Draw(t, "seconds until full")
	rate := min(float64(capacity)/fill, float64(in.requests)/(load*length.Seconds()))
	return limiter.Limit{Capacity: capacity, RatePerSecond: max(rate, float64(capacity)/600)}
}

func drawClient(t *rapid.T, in shape, length time.Duration) client {
	c := client{
		Kind:  rapid.SampledFrom(in.kinds).Draw(t, "kind"),
		Load:  rapid.Float64Range(0.2, 4).Draw(t, "load"),
		Route: route(rapid.IntRange(0, int(ambush)).Draw(t, "route")),
	}
	c.Limit = drawLimit(t, in, c.Load, length)
	c.Burst = 1
	if rapid.Bool().Draw(t, "in bursts") {
		c.Burst = rapid.IntRange(1, 2*int(c.Limit.Capacity)).Draw(t, "burst")
	}
	return c
}

func drawEvent(t *rapid.T, in shape, s *scenario) event {
	e := event{
		At:       time.Duration(rapid.Int64Range(int64(time.Second), int64(s.Length)).Draw(t, "at")),
		What:     rapid.SampledFrom(in.events).Draw(t, "what"),
		Instance: rapid.IntRange(0, 9).Draw(t, "instance"),
		Client:   rapid.IntRange(0, len(s.Clients)-1).Draw(t, "client"),
	}
	switch e.What {
	case cut, freeze:
		e.For = time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(6*time.Second)).Draw(t, "for"))
	case failover:
		e.For = time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "missed"))
	case change:
		e.Limit = drawLimit(t, in, s.Clients[e.Client].Load, s.Length)
	}
	return e
}
