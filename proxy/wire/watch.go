package wire

import (
	"sync/atomic"
	"time"
)

// WatchAfter is how long a backend may be silent before the balancer begins to watch whether a
// client of HTTP/1 still waits. Few requests take that long, so few pay for it.
const WatchAfter = time.Second

// Announcer tells the Watch of a client's work when the client has gone.
type Announcer interface {
	// Announce calls Left of the watch once the client has gone, or at once if it has.
	Announce(*Watch)
	// Forget undoes Announce: after it, Left is not called any more.
	Forget(*Watch)
	// WatchAfter returns how long the work may take before it is worth a watch. 0: a watch costs so
	// little that it begins with the work.
	WatchAfter() time.Duration
}

// Watch ends the work for a client that has gone. It belongs to one round trip or wait, and only
// that goroutine calls its methods, except for Left; Begin prepares it for another. Any goroutine
// may read Gone.
type Watch struct {
	by        Announcer
	work      Stopper
	number    uint64 // its key in Departures
	started   bool
	announced bool
	Gone      atomic.Bool // the client has closed its connection, its sending half, or its stream
}

// Stopper is work for a client, such as a backend's connection. Any goroutine may call Stop, which
// ends it soon.
type Stopper interface{ Stop() }

// Begin prepares to watch the client that work is done for.
func (w *Watch) Begin(by Announcer, work Stopper) {
	w.by, w.work = by, work
	w.number, w.started, w.announced = 0, false, false
	w.Gone.Store(false)
	if by.WatchAfter() == 0 {
		w.announce()
	}
}

// After returns how long to wait for the work before Start.
func (w *Watch) After() time.Duration {
	if after := w.by.WatchAfter(); after > 0 {
		return after
	}
	return WatchAfter
}

// Start begins to watch, unless it has already done so, and reports whether it was called for the
// first time.
func (w *Watch) Start() bool {
	if w.started {
		return false
	}
	w.started = true
	w.announce()
	return true
}

func (w *Watch) announce() {
	if !w.announced {
		w.announced = true
		w.by.Announce(w)
	}
}

// Left stops the work. It is for an Announcer.
func (w *Watch) Left() {
	w.Gone.Store(true)
	w.work.Stop()
}

// Started reports whether Start was called since Begin.
func (w *Watch) Started() bool { return w.started }

// Stop ends the watch. Gone does not change after it.
func (w *Watch) Stop() {
	if w.announced {
		w.by.Forget(w)
	}
}
