package upstream

import (
	"sync/atomic"
	"time"
)

// Private is a connection to a backend that serves one owner alone, since what the owner sends on
// it authenticates the connection, and with it all requests that follow. Between two exchanges it
// is idle, and is closed by Close, after the pool's timeouts.idle, or once the backend takes no
// requests. It counts as in use all the while, since no other request can have it. It is safe for
// concurrent use.
type Private struct {
	conn   *Conn
	idle   atomic.Bool // the goroutine that clears it owns the connection
	expiry *time.Timer // of the idle connection
}

// Private returns the connection, which is in use, as one of an owner. A second call returns the
// same.
func (c *Conn) Private() *Private {
	if o := c.private.Load(); o != nil {
		return o
	}
	o := &Private{conn: c}
	o.expiry = time.AfterFunc(time.Hour, o.end)
	o.expiry.Stop()
	c.private.Store(o)
	return o
}

// IsPrivate reports whether the connection has an owner.
func (c *Conn) IsPrivate() bool { return c.private.Load() != nil }

// take is Backend.TakePrivate.
func (o *Private) take(of *conns) *Conn {
	if o.conn.pool != of || !o.idle.CompareAndSwap(true, false) {
		return nil
	}
	o.expiry.Stop()
	if !o.conn.Quiet() {
		o.conn.Discard()
		return nil
	}
	return o.conn
}

// Release makes the connection idle for the owner, or closes it. said is that of Conn.Release.
func (o *Private) Release(said time.Duration) {
	s := o.conn.pool
	keep := keepFor(s.idle.Load().keep, said)
	if keep <= 0 || s.slots.over() {
		o.conn.Discard()
		return
	}
	o.conn.reused = true
	o.idle.Store(true)
	o.expiry.Reset(keep) // after that, or it might pass while the connection counts as in use
	if s.retired.Load() || s.drained.Load() {
		o.end()
	}
}

// end closes the connection, unless it is in use.
func (o *Private) end() {
	if o.idle.CompareAndSwap(true, false) {
		o.expiry.Stop()
		o.conn.Discard()
	}
}

// Close closes the connection, unless it is in use. It returns nil.
func (o *Private) Close() error {
	o.end()
	return nil
}

// endPrivate closes the private connections that are idle.
func (s *conns) endPrivate() {
	s.mu.Lock()
	var all []*Private
	for c := range s.open {
		if o := c.private.Load(); o != nil {
			all = append(all, o)
		}
	}
	s.mu.Unlock()
	for _, o := range all {
		o.end()
	}
}
