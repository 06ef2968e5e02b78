package proxy

import (
	"sync/atomic"
	"time"
)

// watchAfter is how long a backend may be silent before somebody looks whether
// the client still waits. Few requests take as long, so that few pay for it.
const watchAfter = time.Second

// watch ends the work of a backend whose client has gone. It belongs to one round
// trip.
type watch struct {
	departures *departures
	client     *clientConn
	backend    *backendConn
	number     uint64 // of departures
	on         bool
	gone       atomic.Bool // the client has closed its connection, or its half of it
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

// waitOn is asked when the wait for a response's header has timed out. The first
// time that is for the client's sake: it is watched from now on, and the wait may
// last as long as the pool lets it.
func (x *exchange) waitOn(c *backendConn) bool {
	if !x.watch.start() {
		return false
	}
	if x.upload.started {
		x.upload.waitOn(c, x.pool.responseHeader)
	} else {
		_ = c.SetReadDeadline(x.sentAt.Add(x.pool.responseHeader))
	}
	c.keepStopped()
	return true
}
