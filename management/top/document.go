// Package top shows in a terminal how a load balancer stands, and drains and resumes its backends.
// All it knows comes from the management API: it follows GET /v1/api/status/stream.
//
// The view is a pure function of a screen and its size: view.go and the files beside it make text of
// it. model.go says what a key or a message changes, client.go speaks with the balancer, and run.go
// joins these with the terminal. What comes from outside, such as names and errors, is text: clean
// takes from it what would control the terminal.
package top

import (
	"slices"
	"strings"
	"time"
)

// document is what this package reads of a status.
type document struct {
	Time     time.Time
	Balancer balancer
	Traffic  struct {
		InFlight    int64 `json:"in_flight"`
		Tunnels     int64
		Connections int64
	}
	History history
	Pools   []pool
	Limited []limited
}

type balancer struct {
	Version  string
	Started  time.Time
	Ready    bool
	NotReady string `json:"not_ready"`
	Reload   *struct {
		OK bool
		At time.Time
	} `json:"last_reload"`
	Warnings []string
}

type pool struct {
	Pool          string
	TakesRequests bool `json:"takes_requests"`
	Panic         bool
	Waiting       int64
	Backends      []backend
}

type backend struct {
	Pool, Backend, Address, State string
	TakesRequests                 bool `json:"takes_requests"`
	Alone                         bool // without it, its pool would take no new requests
	Since                         time.Time
	Why                           string
	LastError                     string    `json:"last_error"`
	LastErrorAt                   time.Time `json:"last_error_at"`
	Weight                        int
	EffectiveWeight               float64 `json:"effective_weight"`
	Backup                        bool
	InFlight                      int64 `json:"in_flight"`
	Requests, Errors              int64
	TimeToHeader                  *struct{ P50, P99 float64 } `json:"time_to_header_ms"`
	Share                         *float64
	DueShare                      float64 `json:"due_share"`
	Recent                        struct{ Requests, Errors []int64 }

	rate rate // what rates.add finds
}

// place names a backend for as long as the config has it.
type place struct{ pool, address string }

func (b *backend) place() place { return place{b.Pool, b.Address} }

// isUp reports whether nothing keeps requests from the backend.
func (b *backend) isUp() bool { return b.State == "up" }

// isDrained reports whether an operator has drained it.
func (b *backend) isDrained() bool { return slices.Contains(strings.Split(b.State, ","), "draining") }

// limited is a client that was rejected in the last minute.
type limited struct {
	Client     string
	Registered bool
	Shadow     bool
	Rejections int64

	Capacity      int64   // of the limit that counts for it
	RatePerSecond float64 `json:"rate_per_second"`
}

// place names the client as a row.
func (c *limited) place() place { return place{address: c.Client} }

// history has lists of the same length, the oldest sample first.
type history struct {
	Time               []float64
	Requests, Rejected []int64
	Statuses, Errors   map[string][]int64
	P50                []*float64 `json:"p50_ms"`
	P90                []*float64 `json:"p90_ms"`
	P99                []*float64 `json:"p99_ms"`
}

// sample is what was counted in one second.
type sample struct {
	at                 float64 // its end, in Unix seconds
	requests, rejected int64
	statuses, errors   map[string]int64
	p50, p90, p99      *float64 // in milliseconds; nil: no request has ended
}

// maxSamples bounds the samples that are kept: more than a screen is wide.
const maxSamples = 600

// withHistory returns samples with those of a history that are newer. It may write behind the end of
// samples.
func withHistory(samples []sample, h *history) []sample {
	for i, at := range h.Time {
		if n := len(samples); n > 0 && at <= samples[n-1].at {
			continue
		}
		samples = append(samples, sample{
			at: at, requests: of(h.Requests, i), rejected: of(h.Rejected, i), statuses: each(h.Statuses, i), errors: each(h.Errors, i),
			p50: of(h.P50, i), p90: of(h.P90, i), p99: of(h.P99, i),
		})
	}
	return samples[max(0, len(samples)-maxSamples):]
}

// of returns an element of a list, or zero if that is too short.
func of[T any](list []T, i int) (none T) {
	if i < len(list) {
		return list[i]
	}
	return none
}

// each returns an element of each list.
func each(lists map[string][]int64, i int) map[string]int64 {
	all := make(map[string]int64, len(lists))
	for name, list := range lists {
		all[name] = of(list, i)
	}
	return all
}

// rate is how often something happened in a second.
type rate struct{ requests, errors float64 }

// count is what was counted of a backend until a time.
type count struct {
	at               time.Time
	requests, errors int64
}

// span is the time that the rates of backends are of, at least.
const span = 3 * time.Second

// rates of backends, from the counts of the documents. The zero value is ready for use.
type rates struct {
	counts map[place][]count // the oldest first: one that is at least span old, and those after it
}

// add reads the counts of a document, and sets the rates of its backends.
func (r *rates) add(d *document) {
	counts := map[place][]count{} // without the backends that are gone
	for _, p := range d.Pools {
		for i := range p.Backends {
			b := &p.Backends[i]
			c := append(r.counts[b.place()], count{d.Time, b.Requests, b.Errors})
			for len(c) > 2 && d.Time.Sub(c[1].at) >= span {
				c = c[1:]
			}
			counts[b.place()], b.rate = c, rateOf(b, c)
		}
	}
	r.counts = counts
}

// rateOf returns the rate between the first and the last of the counts. Of a single one it is what
// the latest point of the history has, which is of 10 s.
func rateOf(b *backend, c []count) rate {
	first, last := c[0], c[len(c)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds > 0 {
		return rate{max(0, float64(last.requests-first.requests)) / seconds, max(0, float64(last.errors-first.errors)) / seconds}
	}
	if n := len(b.Recent.Requests); n > 0 {
		return rate{float64(b.Recent.Requests[n-1]) / 10, float64(of(b.Recent.Errors, n-1)) / 10}
	}
	return rate{}
}
