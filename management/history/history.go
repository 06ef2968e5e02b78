// Package history keeps what the counters of a balancer have said in the last 10 minutes: of its
// traffic a sample each second, and of each pool and backend a point each 10 seconds.
//
// Its memory is bounded: about 80 KB, and 0.6 KB for each pool and backend. It reads no clock and
// no counters: its caller hands in readings, of which it keeps by how much they have risen.
package history

import (
	"sync"
	"time"

	"loadbalancer/proxy/metrics"
)

// How often a History is handed readings, and how many of each kind it keeps.
const (
	Step    = time.Second // of Add
	Samples = 600

	WideStep = 10 * time.Second // of AddWide
	Points   = 60
)

// Reading is what the counters of the traffic say at one time. Add keeps nothing of its lists.
type Reading struct {
	At       time.Time // never the zero Time
	Sources  []Source
	Rejected uint64   // requests
	Errors   []uint64 // one for each reason that New was given, in their order
}

// Source is one part of the traffic, whose counters begin at 0 when it comes.
type Source struct {
	Name     string          // another one for each source
	Statuses metrics.Classes // of the responses
	Took     metrics.Buckets // the times of the requests that have ended
}

// History is safe for concurrent use. New makes one.
type History struct {
	reasons []string

	mu      sync.Mutex
	last    Reading // Sources are in sources
	sources map[string]*source
	turn    uint64 // of Add
	ring    ring
	samples []sample // in the order of ring
	errors  []uint32 // of each sample, one for each reason
	wide    wide
}

// source is a Source as it was last.
type source struct {
	Source
	turn uint64 // of the latest reading that had it
}

// sample is what has happened between two readings.
type sample struct {
	at            int64 // of the later one, in Unix milliseconds
	statuses      [len(metrics.Classes{})]uint32
	rejected      uint32
	p50, p90, p99 time.Duration // of the requests that ended; 0 without any
}

// New returns a History that has nothing yet. reasons are the names of the errors.
func New(reasons []string) *History {
	return &History{
		reasons: reasons,
		sources: map[string]*source{},
		ring:    ring{size: Samples},
		samples: make([]sample, Samples),
		errors:  make([]uint32, Samples*len(reasons)),
		wide:    wide{ring: ring{size: Points}, series: map[key]*series{}},
	}
}

// Add adds a sample: by how much the counters have risen since the reading before. The first reading
// makes none. A counter that has fallen began anew, at 0.
func (h *History) Add(r *Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := sample{at: r.At.UnixMilli(), rejected: risen(h.last.Rejected, r.Rejected)}
	took := h.take(r.Sources, &s)
	first := h.last.At.IsZero()
	before := h.last.Errors
	h.last = Reading{At: r.At, Rejected: r.Rejected, Errors: append([]uint64(nil), r.Errors...)}
	if first {
		return
	}
	if took.Total() > 0 {
		s.p50, s.p90, s.p99 = took.Quantile(0.5), took.Quantile(0.9), took.Quantile(0.99)
	}
	i := h.ring.push()
	h.samples[i] = s
	for k := range h.reasons {
		h.errors[i*len(h.reasons)+k] = risen(before[k], r.Errors[k])
	}
}

// take adds what the sources have counted since the reading before to the sample, and returns the
// times of the requests.
func (h *History) take(sources []Source, s *sample) (took metrics.Buckets) {
	h.turn++
	for _, now := range sources {
		before := h.sources[now.Name]
		if before == nil {
			before = &source{}
			h.sources[now.Name] = before
		}
		for i := range s.statuses {
			s.statuses[i] += risen(before.Statuses[i], now.Statuses[i])
		}
		for i := range took {
			took[i] += uint64(risen(before.Took[i], now.Took[i]))
		}
		*before = source{now, h.turn}
	}
	for name, one := range h.sources {
		if one.turn != h.turn {
			delete(h.sources, name)
		}
	}
	return took
}

// risen returns by how much a counter has risen.
func risen(before, now uint64) uint32 {
	if now < before {
		before = 0
	}
	return uint32(min(now-before, 1<<32-1))
}
