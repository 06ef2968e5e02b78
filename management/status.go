package management

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
	"loadbalancer/management/history"
	"loadbalancer/proxy"
)

// The calls that show how the balancer stands.
const (
	statusPath       = apiPrefix + "status"
	statusStreamPath = statusPath + "/stream"
)

// maxLimited bounds the clients in a status.
const maxLimited = 20

// watch is what a Server keeps so that it can tell its status.
type watch struct {
	started time.Time
	history *history.History
	stream  stream

	// The fields below belong to RunStatus.
	counters proxy.Counters
	reading  history.Reading
	wideAt   time.Time // of the latest wide reading
}

func newWatch(now time.Time) *watch {
	return &watch{started: now, history: history.New(proxy.Reasons()), stream: newStream(maxStreams)}
}

// registerStatus adds the calls that show the status.
func (m *Server) registerStatus() {
	r := m.API.router
	r.GET(statusPath, rest.Handler(m.Log, m.showStatus, "history"))
	r.GET(statusStreamPath, rest.Handler(m.Log, m.streamStatus))
	for _, path := range []string{statusPath, statusStreamPath} {
		r.ANY(path+"/", rest.WithoutSlash(r))
	}
}

// RunStatus keeps the history, and tells those that follow the status what is new, until ctx ends.
// Then it ends all streams.
func (m *Server) RunStatus(ctx context.Context) {
	defer m.watch.stream.end()
	tick := time.NewTicker(history.Step)
	defer tick.Stop()
	m.sample(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			m.sample(now)
			if m.watch.stream.isFollowed() {
				m.watch.stream.publish(event(m.status(now, newest)))
			}
		}
	}
}

// sample adds to the history what the counters say.
func (m *Server) sample(now time.Time) {
	w := m.watch
	m.Balancer.Counters(&w.counters)
	r := &w.reading
	r.At, r.Rejected, r.Errors, r.Sources = now, w.counters.Rejected, w.counters.Errors, r.Sources[:0]
	for _, p := range w.counters.Pools {
		r.Sources = append(r.Sources, history.Source{Name: p.Pool, Statuses: p.Statuses, Took: p.Took})
	}
	w.history.Add(r)
	// A tick may come a little early.
	if now.Sub(w.wideAt) < history.WideStep-history.Step/2 {
		return
	}
	w.wideAt = now
	w.history.AddWide(now, m.tallies())
}

// tallies returns the tallies of all pools and backends.
func (m *Server) tallies() (all []history.Tally) {
	for _, p := range m.Balancer.Pools() {
		for _, t := range p.AppendTallies(nil) {
			all = append(all, history.Tally{Pool: p.Name(), Backend: t.Backend, Requests: t.Requests, Errors: t.Errors})
		}
	}
	return all
}

// portion says how much of the history a status has: of each kind, this many of the latest.
type portion struct{ samples, points int }

var (
	nothing    = portion{}
	newest     = portion{1, 1}
	everything = portion{history.Samples, history.Points}
)

// showStatus answers with the status. With history=0 it leaves the history out.
func (m *Server) showStatus(_ context.Context, ctx *fasthttp.RequestCtx) error {
	s := everything
	switch value := string(ctx.QueryArgs().Peek("history")); {
	case !ctx.QueryArgs().Has("history"), value == "1":
	case value == "0":
		s = nothing
	default:
		return rest.Wrong("history", rest.Quote(value), "0 or 1")
	}
	rest.WriteJSON(ctx, fasthttp.StatusOK, m.status(time.Now(), s))
	return nil
}

// Status is how the balancer stands: the document of the calls below statusPath.
type Status struct {
	Time     time.Time       `json:"time"`
	Balancer BalancerStatus  `json:"balancer"`
	Traffic  TrafficStatus   `json:"traffic"`
	History  *HistoryStatus  `json:"history,omitempty"`
	Pools    []PoolStatus    `json:"pools"`
	Limited  []LimitedStatus `json:"limited"`
}

// TrafficStatus is what is under way, and what has been counted since the start.
type TrafficStatus struct {
	Requests    uint64            `json:"requests"`
	Statuses    map[string]uint64 `json:"statuses"` // by class
	Rejected    uint64            `json:"rejected"`
	Errors      map[string]uint64 `json:"errors"` // by reason; one that is missing had none
	InFlight    int64             `json:"in_flight"`
	Tunnels     int64             `json:"tunnels"`
	Connections int               `json:"connections"`
}

// HistoryStatus is the history of the traffic, and when the points were made that the pools and
// backends have.
type HistoryStatus struct {
	*history.Traffic
	RecentTime []float64 `json:"recent_time"` // in Unix seconds
}

// LimitedStatus is a client that was rejected in the last minute.
type LimitedStatus struct {
	Client     string `json:"client"`
	Registered bool   `json:"registered"`
	Shadow     bool   `json:"shadow"`
	Rejections int64  `json:"rejections"`

	Capacity      int64   `json:"capacity"`        // of its limit, or of the default one if it is not registered
	RatePerSecond float64 `json:"rate_per_second"` // likewise
}

// status returns how the balancer stands.
func (m *Server) status(now time.Time, s portion) *Status {
	var counters proxy.Counters
	m.Balancer.Counters(&counters)
	all := &Status{
		Time: now.UTC(), Balancer: m.balancerStatus(), Traffic: newTrafficStatus(&counters),
		Pools: []PoolStatus{}, Limited: []LimitedStatus{}, // in JSON lists, too
	}
	if s != nothing {
		all.History = &HistoryStatus{m.watch.history.Traffic(s.samples), m.watch.history.Times(s.points)}
	}
	for _, p := range m.Balancer.Pools() {
		all.Pools = append(all.Pools, newPoolStatus(p, m.watch.history, s.points))
	}
	for _, c := range m.Limits.Limited(maxLimited) {
		all.Limited = append(all.Limited, LimitedStatus{
			Client: c.Client, Registered: c.Registered, Shadow: c.Shadow, Rejections: c.Rejections,
			Capacity: c.Limit.Capacity, RatePerSecond: c.Limit.RatePerSecond,
		})
	}
	return all
}

func newTrafficStatus(c *proxy.Counters) TrafficStatus {
	t := TrafficStatus{
		Statuses: map[string]uint64{"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}, Errors: map[string]uint64{},
		Rejected: c.Rejected, InFlight: c.InFlight, Tunnels: c.Tunnels, Connections: c.Connections,
	}
	for _, p := range c.Pools {
		t.Requests += p.Statuses.Total()
		for i, class := range slices.Sorted(maps.Keys(t.Statuses)) {
			t.Statuses[class] += p.Statuses[i]
		}
	}
	for i, why := range proxy.Reasons() {
		if n := c.Errors[i]; n > 0 {
			t.Errors[why] = n
		}
	}
	return t
}

// lines returns the lines of a text without its line breaks.
func lines(text string) []string {
	if text = strings.TrimSuffix(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
