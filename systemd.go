package main

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// supervisor is systemd, if it started the process as a service of Type=notify. It is told when the
// process serves, reloads, stops and lives. Its methods are safe for concurrent use, and do nothing
// on nil, which means that no supervisor listens.
type supervisor struct {
	// conn stays open: a process that is out of file descriptors could not open another one to say
	// that it lives, and would be killed while it serves.
	conn     *net.UnixConn
	watchdog time.Duration // longest silence before the process counts as hung; 0: it may be silent
	stopping atomic.Bool
	log      zerolog.Logger
}

// findSupervisor returns the supervisor that the environment names, or nil.
func findSupervisor(log zerolog.Logger) *supervisor {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		log.Warn().Err(err).Str("NOTIFY_SOCKET", socket).Msg("systemd is not told of the start and the end: its socket cannot be opened")
		return nil
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn().Err(err).Msg("systemd gets no signs of life: WATCHDOG_USEC or WATCHDOG_PID is no number")
	}
	return &supervisor{conn: conn, watchdog: watchdog, log: log}
}

// close closes the connection.
func (s *supervisor) close() {
	if s != nil {
		_ = s.conn.Close()
	}
}

// tell sends a message.
func (s *supervisor) tell(state string) {
	if _, err := s.conn.Write([]byte(state)); err == nil {
		return
	}
	if _, err := daemon.SdNotify(false, state); err != nil { // over a new connection
		s.log.Warn().Err(err).Str("state", state).Msg("systemd could not be told of the state")
	}
}

// ready tells that the process serves: after the start, and after a reload, failed or not.
func (s *supervisor) ready() {
	if s != nil && !s.stopping.Load() {
		s.tell(daemon.SdNotifyReady)
	}
}

// reloading tells that a reload has begun.
func (s *supervisor) reloading() {
	if s != nil && !s.stopping.Load() {
		s.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	}
}

// run tells that the process stops once ctx has ended, and until ended has ended that it lives:
// twice in the time after which it would count as hung, as long as alive returns.
func (s *supervisor) run(ctx, ended context.Context, alive func()) {
	if s == nil {
		return
	}
	var tick <-chan time.Time
	if s.watchdog > 0 {
		ticker := time.NewTicker(s.watchdog / 2)
		defer ticker.Stop()
		tick = ticker.C
	}
	stop := ctx.Done()
	for {
		select {
		case <-tick:
			alive()
			s.tell(daemon.SdNotifyWatchdog)
		case <-stop:
			s.stopping.Store(true)
			s.tell(daemon.SdNotifyStopping)
			stop = nil
		case <-ended.Done():
			if stop != nil { // both have ended at once
				s.tell(daemon.SdNotifyStopping)
			}
			return
		}
	}
}
