package proxy

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// timedConn is a connection whose silence is bounded. Reading and writing may
// happen in two goroutines, each of which owns the deadline of its direction.
type timedConn struct {
	*socket
	readBy, writeBy time.Time   // the deadlines that are set
	stopped         atomic.Bool // by stop
}

// netConn is net.Conn under a name that does not hide the connections that embed it.
type netConn = net.Conn

// newTimedConn makes a timedConn of a connection that has no deadlines.
func newTimedConn(conn net.Conn) timedConn { return timedConn{socket: newSocket(conn)} }

// expectRead lets the following reads wait for timeout, or up to an eighth
// longer: a deadline that is far enough away is left alone, because setting one
// costs more than comparing two times.
func (c *timedConn) expectRead(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.readBy, now, timeout); ok {
		_ = c.SetReadDeadline(by) // fails on a closed connection: the read says so
		c.keepStopped()
	}
}

// expectWrite is expectRead for the following writes.
func (c *timedConn) expectWrite(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.writeBy, now, timeout); ok {
		c.writeBy = by
		_ = c.netConn.SetWriteDeadline(by)
		c.keepStopped()
	}
}

// tries is how often, within a timeout, deliver tries to write on.
const tries = 8

// deliver writes all of p to a peer that may be slow, but not take nothing for
// longer than timeout, or up to a quarter more. The kernel wakes a writer only once
// a third of its buffer is free, which a slow peer may take long for: a write that
// is tried again finds out earlier that it reads. now is the time.
func (c *timedConn) deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error) {
	for silent := 0; silent < tries; now = time.Now() {
		var m int
		c.expectWrite(now, timeout/tries)
		m, err = c.Write(p[n:])
		n += m
		if err == nil || !timedOut(err) || c.isStopped() {
			break
		}
		if silent++; m > 0 {
			silent = 0
		}
	}
	return n, err
}

// SetReadDeadline sets the deadline and remembers it.
func (c *timedConn) SetReadDeadline(by time.Time) error {
	c.readBy = by
	return c.netConn.SetReadDeadline(by)
}

// boundRead sets the deadline of a read that another goroutine waits in, and that owns the fields.
func (c *timedConn) boundRead(by time.Time) { _ = c.netConn.SetReadDeadline(by) }

// raw is the connection below, between two of which bytes can stay in the kernel.
func (c *timedConn) raw() net.Conn { return c.netConn }

// stop ends what another goroutine reads or writes, and whatever it starts before
// resume.
func (c *timedConn) stop() {
	c.stopped.Store(true)
	_ = c.SetDeadline(longAgo)
}

// isStopped reports whether stop was called, and not resume since.
func (c *timedConn) isStopped() bool { return c.stopped.Load() }

// forgetRead lets the next expectRead set the deadline in any case: it was set past the timedConn.
func (c *timedConn) forgetRead() { c.readBy = time.Time{} }

// keepStopped takes back a deadline that was set while the connection was stopped.
func (c *timedConn) keepStopped() {
	if c.isStopped() {
		_ = c.SetDeadline(longAgo)
	}
}

// resume follows stop, once the other goroutine has ended. It leaves no deadline
// behind, neither in the fields nor on the connection: fasthttp, which writes the
// answers of the API, sets none before it writes.
func (c *timedConn) resume() {
	c.stopped.Store(false)
	c.readBy, c.writeBy = time.Time{}, time.Time{}
	_ = c.netConn.SetDeadline(time.Time{}) // fails on a closed connection: the next call says so
}

// roll returns the deadline to set, if the present one is off.
func roll(by, now time.Time, timeout time.Duration) (time.Time, bool) {
	slack := timeout / 8
	if left := by.Sub(now); left >= timeout && left <= timeout+slack {
		return by, false
	}
	return now.Add(timeout + slack), true
}

// timedOut reports whether a deadline has ended what was waited for.
func timedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// longAgo is a deadline that ends whatever waits.
var longAgo = time.Unix(1, 0)
