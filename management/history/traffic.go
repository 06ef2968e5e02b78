package history

import (
	"strconv"
	"time"

	"loadbalancer/proxy/metrics"
)

// Traffic is a number of samples, in lists of the same length, the oldest sample first.
type Traffic struct {
	// Time is when each sample ends, in Unix seconds. Its counts are of the time since the sample
	// before.
	Time     []float64           `json:"time"`
	Requests []uint32            `json:"requests"`
	Statuses map[string][]uint32 `json:"statuses"` // by class, 1xx to 5xx
	Rejected []uint32            `json:"rejected"`
	Errors   map[string][]uint32 `json:"errors"` // by reason; one that is missing had none
	// The quantiles of the time that requests took, in milliseconds; nil: none has ended.
	P50 []*float64 `json:"p50_ms"`
	P90 []*float64 `json:"p90_ms"`
	P99 []*float64 `json:"p99_ms"`
}

// Traffic returns the latest n samples, or all if there are fewer.
func (h *History) Traffic(n int) *Traffic {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, h.ring.held)
	t := &Traffic{
		Time: make([]float64, 0, n), Requests: make([]uint32, 0, n), Rejected: make([]uint32, 0, n),
		Statuses: map[string][]uint32{}, Errors: map[string][]uint32{},
		P50: make([]*float64, 0, n), P90: make([]*float64, 0, n), P99: make([]*float64, 0, n),
	}
	var classes [len(metrics.Classes{})][]uint32
	h.ring.latest(n, func(at int) {
		s := &h.samples[at]
		requests := uint32(0)
		for i, count := range s.statuses {
			classes[i] = append(classes[i], count)
			requests += count
		}
		t.Time, t.Requests, t.Rejected = append(t.Time, seconds(s.at)), append(t.Requests, requests), append(t.Rejected, s.rejected)
		t.P50, t.P90, t.P99 = append(t.P50, milliseconds(s.p50)), append(t.P90, milliseconds(s.p90)), append(t.P99, milliseconds(s.p99))
	})
	for i, counts := range classes {
		t.Statuses[strconv.Itoa(i+1)+"xx"] = append([]uint32{}, counts...) // in JSON a list, too
	}
	h.addErrors(t, n)
	return t
}

// addErrors adds the series of the reasons that the samples have.
func (h *History) addErrors(t *Traffic, n int) {
	for k, name := range h.reasons {
		counts, some := make([]uint32, 0, n), false
		h.ring.latest(n, func(at int) {
			count := h.errors[at*len(h.reasons)+k]
			counts, some = append(counts, count), some || count > 0
		})
		if some {
			t.Errors[name] = counts
		}
	}
}

// seconds returns Unix milliseconds in seconds.
func seconds(ms int64) float64 { return float64(ms) / 1000 }

// milliseconds returns a time in milliseconds, or nil for 0.
func milliseconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	ms := float64(d.Microseconds()) / 1000
	return &ms
}
