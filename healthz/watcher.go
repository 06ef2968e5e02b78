package healthz

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Watcher checks a set of targets, which may change while it runs. It is safe for concurrent use.
// Make one with NewWatcher.
type Watcher struct {
	mu      sync.Mutex // held while the set changes
	ctx     context.Context
	round   *round
	watched map[string]*watched // by the target's name
	running sync.WaitGroup
}

// watched is one target and, while the Watcher runs, its goroutine.
type watched struct {
	target Target
	state  state // what is known of it; the goroutine's while there is one
	stop   context.CancelFunc
	ended  chan struct{}
}

// NewWatcher returns a Watcher of these targets, each of which has a name of its own. cfg must be
// valid. Nothing is checked before Run.
func NewWatcher(cfg Config, targets []Target) *Watcher {
	return newWatcher(cfg, targets, check)
}

func newWatcher(cfg Config, targets []Target, check checkFunc) *Watcher {
	w := &Watcher{round: newRound(cfg, check), watched: map[string]*watched{}}
	w.Set(cfg, targets)
	return w
}

// Run checks every target until ctx ends, and returns once no check and no Report is running. The
// first checks of a few targets begin at once, those of many are spread over an interval: see
// startAfter. It uses one goroutine per target and at most cfg.MaxConcurrent connections. It is
// called once.
func (w *Watcher) Run(ctx context.Context) {
	w.mu.Lock()
	w.ctx = ctx
	w.start(slices.Collect(maps.Values(w.watched)), w.round.cfg.Interval)
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock() // no Set starts another goroutine
	defer w.mu.Unlock()
	w.running.Wait()
}

// Set replaces the config and the targets. Targets that stay, by their names, keep what is known of
// them: one that is down stays down until its checks succeed. The first checks of those that are new
// begin within half a timeout, or an interval if that is shorter. Once Set has returned, no Report of a
// target that was left out is running or will run.
func (w *Watcher) Set(cfg Config, targets []Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.watched
	w.watched = make(map[string]*watched, len(targets))
	sameConfig := cfg == w.round.cfg
	if !sameConfig {
		w.round = newRound(cfg, w.round.check)
	}
	var unknown, known []*watched // whose checks begin, or begin anew
	for _, t := range targets {
		was, next := before[t.Name], &watched{target: t}
		switch {
		case was == nil:
			unknown = append(unknown, next)
		case sameConfig:
			next = was
			delete(before, t.Name)
		default:
			next.state = was.end()
			known = append(known, next)
		}
		w.watched[t.Name] = next
	}
	for _, t := range before {
		t.end()
	}
	w.start(unknown, min(cfg.Interval, cfg.Timeout/2))
	w.start(known, cfg.Interval)
}

// start begins to check targets, with their first checks spread over at most the time within,
// unless Run has not begun or is over.
func (w *Watcher) start(all []*watched, within time.Duration) {
	if w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	r := w.round
	for i, t := range all {
		ctx, stop := context.WithCancel(w.ctx)
		t.stop, t.ended = stop, make(chan struct{})
		w.running.Go(func() {
			defer close(t.ended)
			t.state = r.watch(ctx, t.target, t.state, startAfter(i, len(all), within))
		})
	}
}

// end ends the checks of a target, and returns what is known of it.
func (t *watched) end() state {
	if t.stop != nil {
		t.stop()
		<-t.ended
	}
	return t.state
}
