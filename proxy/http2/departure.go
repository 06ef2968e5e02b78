package http2

import (
	"sync"

	"loadbalancer/proxy/wire"
)

// departure tells the watch of a stream's work when the client has reset the stream or closed the
// connection. There is one watch at a time.
type departure struct {
	mu    sync.Mutex
	watch *wire.Watch // nil: none is under way
	gone  bool
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

// reset readies the departure for another stream.
func (d *departure) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch, d.gone = nil, false
}
