package wire

import (
	"sync/atomic"
	"time"
)

// WatchAfter is how long a backend may be silent before the balancer begins to watch whether the
// client still waits. Few requests take that long, so few pay for it.
const WatchAfter = time.Second

// Watch ends the work for a client that has gone. It belongs to one round trip or wait, and only
// that goroutine calls its methods; Begin prepares it for another. Any goroutine may read Gone.
type Watch struct {
	departures *Departures
	client     *Conn
	work       Stopper
	number     uint64 // its key in departures
	started    bool
	Gone       atomic.Bool // the client has closed its connection, or its sending half
}

// Stopper is work for a client, such as a backend's connection. Any goroutine may call Stop, which
// ends it soon.
type Stopper interface{ Stop() }

// Begin prepares to watch the client that work is done for.
func (w *Watch) Begin(d *Departures, client *Conn, work Stopper) {
	w.departures, w.client, w.work = d, client, work
	w.number, w.started = 0, false
	w.Gone.Store(false)
}

// Start begins to watch, unless it has already done so, and reports whether it began now.
func (w *Watch) Start() bool {
	if w.started {
		return false
	}
	w.started = true
	w.departures.add(w)
	return true
}

// left stops the work.
func (w *Watch) left() {
	w.Gone.Store(true)
	w.work.Stop()
}

// Started reports whether Start was called since Begin.
func (w *Watch) Started() bool { return w.started }

// Stop ends the watch. Gone does not change after it.
func (w *Watch) Stop() {
	if w.started {
		w.departures.remove(w)
	}
}
