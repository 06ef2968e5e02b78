package top

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// screen is all that is shown.
type screen struct {
	shown string // what the load balancer is called
	news  news
	lists [2]list // by focus
	focus int
	entry entry
}

// news is what the load balancer has told, and how well it is heard.
type news struct {
	now     time.Time     // by this machine's clock
	heard   time.Time     // by the same clock, when doc came
	trouble string        // why nothing has come since; "": nothing is wrong
	pause   time.Duration // between attempts to hear more
	doc     *document
	samples []sample
}

// patience is how long no message may come before that is told.
const patience = 3 * time.Second

// isStale reports whether the figures are old.
func (n *news) isStale() bool { return n.trouble != "" || n.now.Sub(n.heard) > patience }

// The lists, as focus says them.
const (
	backends = iota
	clients
)

// list is how a list is shown, and what of it is chosen.
type list struct {
	order    int // an index of its orders
	reversed bool
	chosen   place  // id of a row; the zero value: none
	filter   string // shows only the rows that contain it
}

// entry is what the last line is for.
type entry struct {
	isTyping bool // of the filter of the list that has the focus
	question *question
	said     string // what became of the last action
	failed   bool
	help     bool
}

// question is asked before a drain.
type question struct {
	at  place
	why string // it may hurt
}

// order is one way to sort a list.
type order[T any] struct {
	name    string
	compare func(s *screen, a, b T) int
}

// descending sorts by a figure, the largest first.
func descending[T any, N cmp.Ordered](figure func(*screen, T) N) func(*screen, T, T) int {
	return func(s *screen, a, b T) int { return cmp.Compare(figure(s, b), figure(s, a)) }
}

// backendOrders are those of backends. The first leaves them as the load balancer tells them.
var backendOrders = []order[*backend]{
	{"config", func(*screen, *backend, *backend) int { return 0 }},
	{"name", func(_ *screen, a, b *backend) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), strings.Compare(a.Address, b.Address))
	}},
	{"state", func(_ *screen, a, b *backend) int { return cmp.Compare(badness(b), badness(a)) }},
	{"requests", descending(func(_ *screen, b *backend) float64 { return b.rate.requests })},
	{"errors", descending(func(_ *screen, b *backend) float64 { return b.rate.errors })},
	{"in flight", descending(func(_ *screen, b *backend) int64 { return b.InFlight })},
	{"share", descending(func(_ *screen, b *backend) float64 { return share(b) })},
}

var clientOrders = []order[*limited]{
	{"rejections", descending(func(_ *screen, c *limited) int64 { return c.Rejections })},
	{"name", func(_ *screen, a, b *limited) int { return strings.Compare(a.Client, b.Client) }},
}

// badness is higher the less an operator wants the state.
func badness(b *backend) int {
	switch {
	case b.isUp():
		return 0
	case b.State == "draining":
		return 1
	}
	return 2
}

// share is the backend's share of its pool's traffic, or -1 if there was none.
func share(b *backend) float64 {
	if b.Share == nil {
		return -1
	}
	return *b.Share
}

// backends returns the backends that the filter leaves, as they are sorted.
func (s *screen) backends() (all []*backend) {
	for _, p := range s.news.doc.Pools {
		for i := range p.Backends {
			if b := &p.Backends[i]; s.leaves(b) {
				all = append(all, b)
			}
		}
	}
	return sorted(s, all, backendOrders, s.lists[backends])
}

// limited returns the clients that the filter leaves, as they are sorted.
func (s *screen) limited() (all []*limited) {
	for i := range s.news.doc.Limited {
		if c := &s.news.doc.Limited[i]; leaves(s.lists[clients].filter, c.Client) {
			all = append(all, c)
		}
	}
	return sorted(s, all, clientOrders, s.lists[clients])
}

func sorted[T any](s *screen, all []T, orders []order[T], l list) []T {
	slices.SortStableFunc(all, func(a, b T) int {
		if l.reversed {
			a, b = b, a
		}
		return orders[l.order].compare(s, a, b)
	})
	return all
}

// leaves reports whether the filter leaves a backend.
func (s *screen) leaves(b *backend) bool {
	return leaves(s.lists[backends].filter, b.Pool, b.Address, b.Backend, b.State, b.Why)
}

// leaves reports whether one of the texts has the filter in it, whatever the case of its letters.
func leaves(filter string, texts ...string) bool {
	want := strings.ToLower(filter)
	return want == "" || slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), want) })
}

// ids returns the rows of a list, in their order.
func (s *screen) ids(which int) (all []place) {
	if which == clients {
		for _, c := range s.limited() {
			all = append(all, c.place())
		}
		return all
	}
	for _, b := range s.backends() {
		all = append(all, b.place())
	}
	return all
}

// chosen returns the backend that is chosen and visible, or nil.
func (s *screen) chosen() *backend {
	for _, p := range s.news.doc.Pools {
		for i := range p.Backends {
			if b := &p.Backends[i]; b.place() == s.lists[backends].chosen && s.leaves(b) {
				return b
			}
		}
	}
	return nil
}

// hurts says what is bad about draining a backend now, or returns "".
func (s *screen) hurts(b *backend) string {
	if s.news.isStale() {
		return "What is shown is old."
	}
	if !b.Alone {
		return ""
	}
	return "Without it, requests of pool " + b.Pool + " get 503."
}
