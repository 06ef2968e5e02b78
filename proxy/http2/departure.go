package http2

import (
	"context"
	"sync"

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

// Prompt is that of wire.Announcer: a reset ends the work at once.
func (s *Stream) Prompt() bool { return true }

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
