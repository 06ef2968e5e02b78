package http2

import (
	"context"
	"sync"
	"time"

	"loadbalancer/proxy/wire"
)

// departure tells the watch of a stream's work when the client has reset the stream or closed the
// connection. There is one watch at a time.
type departure struct {
	mu    sync.Mutex
	watch *wire.Watch // nil: none is under way
	gone  bool
	stop  func() bool // ends the wait for the client's departure
}

// watchAfter is how long a backend may be silent before the balancer begins to watch whether the
// client still waits: a reset ends the work at once, but the responses of quick backends, nearly all,
// do not pay for that.
const watchAfter = 20 * time.Millisecond

// WatchAfter is that of wire.Announcer.
func (s *Stream) WatchAfter() time.Duration { return watchAfter }

// Announce is that of wire.Announcer.
func (s *Stream) Announce(w *wire.Watch) {
	if s.departure == nil {
		s.departure = departureOf(s.request.Context())
	}
	s.departure.set(w)
}

// Forget is that of wire.Announcer.
func (s *Stream) Forget(*wire.Watch) { s.departure.set(nil) }

// departureOf returns the departure of the client whose context this is.
func departureOf(ctx context.Context) *departure {
	d := new(departure)
	d.stop = context.AfterFunc(ctx, d.left)
	return d
}

// left is called when the client has gone.
func (d *departure) left() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	if d.watch != nil {
		d.watch.Left()
	}
}

// set sets the watch that is told, or none.
func (d *departure) set(w *wire.Watch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = w
	if d.gone && w != nil {
		w.Left()
	}
}
