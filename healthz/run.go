package healthz

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
)

// Target is a backend to watch. It counts as up until a check says otherwise.
type Target struct {
	Name    string // the backend's name in errors
	Network string // "tcp" or "unix"
	Address string // host:port with an address or localhost as host, or the path of the socket
	Host    string // Host field of the GET
	HTTP2   bool   // the backend speaks HTTP/2
	Secure  Secure // nil: the backend is spoken to in the clear

	// Report is called after each check, except one that was interrupted or failed for a reason of
	// this machine. Calls for one target are sequential; those for different targets may overlap. The
	// next check of this target waits for Report to return.
	Report func(Verdict)
}

// Secure makes a connection that was just opened one of TLS. The connection that it returns is closed
// in place of the one that it got, unless there is an error.
type Secure func(context.Context, net.Conn) (net.Conn, error)

// Verdict is what the checks say of a backend after one of them.
type Verdict struct {
	Down  bool  // it has failed its first check or Config.Fall in a row, and not yet passed Config.Rise
	Cause Cause // of the latest failure while it is down; else Passed
	Err   error // of the check; nil: it passed
}

// round is what the checks of one config share.
type round struct {
	cfg   Config
	check checkFunc
	slots *semaphore.Weighted // bounds the concurrent checks

	// suspects bounds the slots of backends known to be down. Each of them can hold its slot for
	// the whole timeout, and enough of them would delay the checks of the others.
	suspects *semaphore.Weighted
}

// checkFunc checks a target once.
type checkFunc func(context.Context, Config, Target) error

func newRound(cfg Config, check checkFunc) *round {
	return &round{
		cfg:      cfg,
		check:    check,
		slots:    semaphore.NewWeighted(int64(cfg.MaxConcurrent)),
		suspects: semaphore.NewWeighted(int64(max(1, cfg.MaxConcurrent/2))),
	}
}

// watch checks t, of which s is known, until ctx ends, and returns what is known then. The first
// check begins after a delay.
func (r *round) watch(ctx context.Context, t Target, s state, delay time.Duration) state {
	for {
		select {
		case <-ctx.Done():
			return s
		case <-time.After(delay):
		}
		err := r.checkInTurn(ctx, t, s.suspect())
		if ctx.Err() != nil {
			return s // the check was interrupted and says nothing about the backend
		}
		if !OwnFault(err) {
			s = s.next(causeOf(err), r.cfg.Rise, r.cfg.Fall)
			t.Report(Verdict{Down: s.down(), Cause: s.cause, Err: err})
		}
		delay = wait(time.Now(), r.cfg.pause(s.down()))
	}
}

// checkInTurn waits for a slot and checks t in it.
func (r *round) checkInTurn(ctx context.Context, t Target, suspect bool) error {
	if suspect {
		if err := r.suspects.Acquire(ctx, 1); err != nil {
			return err
		}
		defer r.suspects.Release(1)
	}
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.slots.Release(1)
	return r.check(ctx, r.cfg, t)
}

// OwnFault reports whether a check or a request failed because this machine lacks file descriptors or
// memory. That says nothing about the backend, and counting it as a failure would take out every backend at
// once, under the highest load. EADDRNOTAVAIL is not included: a backend in an address family that
// this machine lacks causes it too.
func OwnFault(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
