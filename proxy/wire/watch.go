package wire

import (
	"sync/atomic"
	"time"
)

// WatchAfter is how long a backend may be silent before it is found out whether the client still
// waits. Few requests take as long, so that few pay for it.
const WatchAfter = time.Second

// Watch ends the work of a backend whose client has gone. It belongs to one round trip, whose goroutine
// alone calls its methods; Begin makes it ready for another. Gone may be read by any.
type Watch struct {
	departures      *Departures
	client, backend *Conn
	number          uint64 // of Departures
	on              bool
	Gone            atomic.Bool // the client has closed its connection, or its half of it
}

// Begin makes ready to watch the client of a backend.
func (w *Watch) Begin(d *Departures, client, backend *Conn) {
	w.departures, w.client, w.backend = d, client, backend
	w.number, w.on = 0, false
	w.Gone.Store(false)
}

// Start begins to watch, and reports whether it has not done so before.
func (w *Watch) Start() bool {
	if w.on {
		return false
	}
	w.on = true
	w.departures.add(w)
	return true
}

// left ends the work of the backend.
func (w *Watch) left() {
	w.Gone.Store(true)
	w.backend.Stop()
}

// Started reports whether Start was called since Begin.
func (w *Watch) Started() bool { return w.on }

// Stop ends the watch. After it, Gone does not change.
func (w *Watch) Stop() {
	if w.on {
		w.departures.remove(w)
	}
}
