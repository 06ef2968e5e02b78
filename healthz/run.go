package healthz

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
)

// Target is a backend to watch. It counts as up until a check says otherwise.
type Target struct {
	Name    string // the backend's name in errors
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket; a host name is resolved for each check
	Host    string // Host field of the GET

	// Report is called only when the backend goes down (up is false and err says why) or comes back
	// (up is true and err is nil). Calls for one target are sequential; those for different targets
	// may overlap. The next check of this target waits for Report to return.
	Report func(up bool, err error)
}

// Run checks every target until ctx ends, and returns once no check and no Report is running. The
// first checks start at once. It uses one goroutine per target and at most cfg.MaxConcurrent
// connections. cfg must be valid.
func Run(ctx context.Context, cfg Config, targets []Target) {
	run(ctx, cfg, targets, func(ctx context.Context, t Target) error { return check(ctx, cfg, t) })
}

func run(ctx context.Context, cfg Config, targets []Target, check func(context.Context, Target) error) {
	w := watcher{
		cfg:      cfg,
		check:    check,
		slots:    semaphore.NewWeighted(int64(cfg.MaxConcurrent)),
		suspects: semaphore.NewWeighted(int64(max(1, cfg.MaxConcurrent/2))),
	}
	var wg sync.WaitGroup
	for _, t := range targets {
		wg.Go(func() { w.watch(ctx, t) })
	}
	wg.Wait()
}

// watcher holds what the goroutines of one Run share.
type watcher struct {
	cfg   Config
	check func(context.Context, Target) error
	slots *semaphore.Weighted // bounds the concurrent checks

	// suspects bounds the slots of backends known to be down. Each of them can hold its slot for
	// the whole timeout, and enough of them would delay the checks of the others.
	suspects *semaphore.Weighted
}

// watch checks t until ctx ends.
func (w *watcher) watch(ctx context.Context, t Target) {
	var s state
	for {
		err := w.checkInTurn(ctx, t, s.suspect())
		if ctx.Err() != nil {
			return // the check was interrupted and says nothing about the backend
		}
		if !ownFault(err) {
			var changed bool
			if s, changed = s.next(err == nil, w.cfg.Rise, w.cfg.Fall); changed {
				t.Report(!s.down, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(w.cfg.Interval)):
		}
	}
}

// checkInTurn waits for a slot and checks t in it.
func (w *watcher) checkInTurn(ctx context.Context, t Target, suspect bool) error {
	if suspect {
		if err := w.suspects.Acquire(ctx, 1); err != nil {
			return err
		}
		defer w.suspects.Release(1)
	}
	if err := w.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer w.slots.Release(1)
	return w.check(ctx, t)
}

// ownFault reports whether a check failed because this machine lacks file descriptors or memory.
// That says nothing about the backend, and counting it as a failure would take out every backend at
// once, under the highest load. EADDRNOTAVAIL is not included: a backend in an address family that
// this machine lacks causes it too.
func ownFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// jitter returns interval, give or take 10 %, so that the checks of many backends do not run in
// step.
func jitter(interval time.Duration) time.Duration {
	return interval - interval/10 + rand.N(interval/5+1)
}
