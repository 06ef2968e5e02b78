package backend

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
)

// control holds the fault of a backend, and counts its requests. It is safe for concurrent use.
type control struct {
	fault    atomic.Pointer[Fault]
	requests atomic.Uint64 // checks and calls of /control are not among them
	restarts chan *Fault

	mu    sync.Mutex
	timer *time.Timer // of the end of the fault; guarded by mu
}

func newControl() *control {
	c := &control{restarts: make(chan *Fault, 1)}
	c.fault.Store(newFault())
	return c
}

// set replaces the fault.
func (c *control) set(f *Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replace(f)
	switch {
	case f.Kind == Restart:
		select {
		case c.restarts <- f:
		default: // it restarts already
		}
	case f.For > 0:
		c.timer = time.AfterFunc(time.Duration(f.For), func() { c.end(f) })
	}
}

// end ends the fault, unless another has replaced it.
func (c *control) end(f *Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault.Load() == f {
		c.replace(newFault())
	}
}

// replace is called while mu is held.
func (c *control) replace(f *Fault) {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	close(c.fault.Swap(f).over)
}

// state returns the JSON of GET /control.
func (c *control) state() ([]byte, error) {
	return json.Marshal(struct {
		*Fault
		Requests uint64 `json:"requests"`
	}{c.fault.Load(), c.requests.Load()})
}
