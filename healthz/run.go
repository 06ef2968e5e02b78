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

// Target is one backend to watch. It counts as up until a check says otherwise.
type Target struct {
	Name    string // for errors, as people know the backend
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket; a host name is resolved anew for each check
	Host    string // Host field of the GET

	// Report is called when the backend goes down (up is false and err says why) or comes back (up is true and err is
	// nil), and never else. Calls for one target come one after the other; those for different targets may overlap.
	// The next check of this target waits for Report to return.
	Report func(up bool, err error)
}

// Run checks every target until ctx ends, and returns when no check and no Report is under way. The first checks start
// at once. It costs one goroutine per target, and cfg.MaxConcurrent connections at most. cfg must be valid.
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

// watcher is what the goroutines of one Run share.
type watcher struct {
	cfg   Config
	check func(context.Context, Target) error
	slots *semaphore.Weighted // bounds the checks under way

	// suspects bounds the slots that backends known to be down may hold. Each of them can hold its slot for the whole
	// timeout, and enough of them would keep the others from being checked in time.
	suspects *semaphore.Weighted
}

// watch checks t until ctx ends.
func (w *watcher) watch(ctx context.Context, t Target) {
	var s state
	for {
		err := w.checkInTurn(ctx, t, s.suspect())
		if ctx.Err() != nil {
			return // the check was cut short and says nothing about the backend
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

// ownFault reports whether a check failed for want of file descriptors or memory on this machine. That says nothing
// about the backend, and taking it for a failure would put out every backend at once, under the highest load.
// EADDRNOTAVAIL is not among them: it also tells of a backend in an address family that this machine lacks.
func ownFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// jitter returns interval, give or take 10 %, so that the checks of many backends do not march in step.
func jitter(interval time.Duration) time.Duration {
	return interval - interval/10 + rand.N(interval/5+1)
}
