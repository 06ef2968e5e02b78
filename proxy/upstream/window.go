package upstream

import (
	"sync/atomic"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/metrics"
)

// watchInterval is how often the backends are compared; silenceTicks is how long silence lasts that
// counts, in such intervals.
const (
	watchInterval = 250 * time.Millisecond
	silenceTicks  = 8
)

// spans are the times over which answers are compared, in watchIntervals. The shortest tells within
// about a second that a backend has begun to fail, the longest also where requests are few.
var spans = [...]int{4, windowTicks}

const windowTicks = 40

// window is what the watch knows of a backend: samples of its counters, the oldest of which is next
// to be replaced, and what follows from them.
type window struct {
	samples [windowTicks]sample
	answers [len(spans)]healthz.Answers
	waiting int  // requests that wait for a header
	enough  bool // so many wait that silence counts
	quiet   int  // intervals without a sign of life
	silent  int  // of these the last, as long as enough waited
	signs   uint32
}

// sample are counters at one time.
type sample struct{ all, failed, turns uint64 }

// since returns the answers between two samples.
func (s sample) since(before sample) healthz.Answers {
	return healthz.Answers{All: int(s.all - before.all), Failed: int(s.failed - before.failed), Turns: int(s.turns - before.turns)}
}

// sample returns the counters of now, which codes has in part.
func (o *outlier) sample(codes *metrics.Codes) *sample {
	s := &sample{turns: o.failed.n.Load()}
	codes.Each(func(status int, n uint64) {
		s.all += n
		if status >= 500 {
			s.failed += n
		}
	})
	return s
}

// take takes another sample, the n-th.
func (o *outlier) take(n int, codes *metrics.Codes) {
	w := &o.window
	now := *o.sample(codes)
	if back := o.returned.Swap(nil); back != nil { // what it did before counts for nothing
		for i := range w.samples {
			w.samples[i] = *back
		}
		w.silent = 0
	}
	for i, span := range spans {
		w.answers[i] = now.since(w.samples[(n+windowTicks-span)%windowTicks])
	}
	w.samples[n%windowTicks] = now
	w.listen(o)
}

// suspectTicks is how long a backend at which requests wait is silent before it is suspected.
const suspectTicks = 2

// isSuspect reports whether requests wait at a silent backend, but too few for silence to count.
func (o *outlier) isSuspect() bool {
	w := &o.window
	return w.quiet >= suspectTicks && w.waiting > 0 && !w.enough
}

// suspect is a backend that may be silent, and how many requests it takes to know.
type suspect struct {
	backend *Backend
	wants   atomic.Int64
}

func newSuspect(b *Backend) *suspect {
	s := &suspect{backend: b}
	s.wants.Store(int64(healthz.MinWaiting - b.outlier.window.waiting))
	return s
}

// listen notes whether a sign of life has come.
func (w *window) listen(o *outlier) {
	var signs uint32
	w.waiting, signs = o.waiting()
	if w.quiet++; signs != w.signs {
		w.signs, w.quiet = signs, 0
	}
	before := w.enough
	w.enough = w.waiting >= healthz.MinWaiting
	if w.silent++; w.quiet == 0 || !w.enough || !before {
		w.silent = 0
	}
}
