package wire

import (
	"runtime"
	"sync/atomic"
)

// recall is the wait for the first byte from a peer, which other goroutines may interrupt. Its
// state moves from each step below to the next, and from any back to settled.
type recall struct{ state atomic.Uint32 }

const (
	settled   uint32 = iota // nothing waits that may be interrupted
	held                    // not yet: see HoldRecall
	called                  // Recall has come meanwhile
	waiting                 // Recall may interrupt
	recalling               // Recall is about to stop the connection
	recalled                // it has
)

// HoldRecall lets AllowRecall take effect while another goroutine may already call Settle.
func (c *Conn) HoldRecall() { c.recall.state.Store(held) }

// AllowRecall lets Recall interrupt the wait for the first byte, unless it was settled since
// HoldRecall. A Recall since then takes effect now.
func (c *Conn) AllowRecall() {
	if !c.recall.state.CompareAndSwap(held, waiting) && c.recall.state.CompareAndSwap(called, waiting) {
		c.Recall()
	}
}

// Recall interrupts a wait that allows it, as Stop does, or once it does, and otherwise does
// nothing. Any goroutine may call it.
func (c *Conn) Recall() {
	if c.recall.state.CompareAndSwap(held, called) {
		return
	}
	if c.recall.state.CompareAndSwap(waiting, recalling) {
		c.Stop()
		c.recall.state.Store(recalled)
	}
}

// Recalled reports whether the wait was interrupted by Recall.
func (c *Conn) Recalled() bool { return c.recall.state.Load() >= recalling }

// Settle ends the wait: nothing interrupts it from now on. It reports whether Recall has done so,
// which it undoes; no deadline is left then.
func (c *Conn) Settle() (wasRecalled bool) {
	for {
		switch state := c.recall.state.Load(); state {
		case settled:
			return false
		case recalling:
			runtime.Gosched() // for the few instructions of Stop
		case recalled:
			c.recall.state.Store(settled)
			c.Resume()
			return true
		default:
			if c.recall.state.CompareAndSwap(state, settled) {
				return false
			}
		}
	}
}
