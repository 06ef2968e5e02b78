package proxy

import (
	"sync/atomic"
	"time"
)

// watchAfter is how long a backend may be silent before it is found out whether the client still
// waits. Few requests take as long, so that few pay for it.
const watchAfter = time.Second

// watch ends the work of a backend whose client has gone. It belongs to one round trip; begin makes
// it ready for another.
type watch struct {
	departures      *departures
	client, backend *timedConn
	number          uint64 // of departures
	on              bool
	gone            atomic.Bool // the client has closed its connection, or its half of it
}

// begin makes ready to watch the client of a backend.
func (w *watch) begin(d *departures, client, backend *timedConn) {
	w.departures, w.client, w.backend = d, client, backend
	w.number, w.on = 0, false
	w.gone.Store(false)
}

// start begins to watch, and reports whether it has not done so before.
func (w *watch) start() bool {
	if w.on {
		return false
	}
	w.on = true
	w.departures.add(w)
	return true
}

// left ends the work of the backend.
func (w *watch) left() {
	w.gone.Store(true)
	w.backend.stop()
}

// stop ends the watch. After it, gone does not change.
func (w *watch) stop() {
	if w.on {
		w.departures.remove(w)
	}
}
