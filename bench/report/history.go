package report

import (
	"time"

	"loadbalancer/bench/load"
)

// maxSamples is how many samples a History keeps: more than a wide terminal has columns of dots.
const maxSamples = 512

// History is how a run has come to where it is, in at most 512 samples, evenly spaced but for the
// last. It keeps the whole run: when it is full, it drops every second sample, and takes half as
// many from then on. Since samples are sums, none of what they count is lost. Its zero value is
// empty. It is for one goroutine.
type History struct {
	// Samples are in the order of their time, and begin with the start of the run.
	Samples []load.Progress
	gap     time.Duration // between two samples; 0 means as they come
}

// Add appends the sample, or replaces the last one if that is nearer than the gap to the one before.
func (h *History) Add(p load.Progress) {
	if h.Samples == nil {
		h.Samples = []load.Progress{{}}
	}
	last := len(h.Samples) - 1
	if last > 0 && h.Samples[last].Elapsed-h.Samples[last-1].Elapsed < h.gap {
		h.Samples[last] = p
		return
	}
	if h.Samples = append(h.Samples, p); len(h.Samples) > maxSamples {
		h.thin()
	}
}

func (h *History) thin() {
	kept := h.Samples[:0]
	for i := 0; i < len(h.Samples); i += 2 {
		kept = append(kept, h.Samples[i])
	}
	clear(h.Samples[len(kept):])
	h.Samples = kept
	h.gap = kept[1].Elapsed - kept[0].Elapsed
}
