// Package wire is a connection: its bytes under deadlines, whether its peer has gone, and how it ends.
// It knows no protocol.
//
// Reads and writes on Linux go past the Go scheduler, because the sockets never block. Nothing here
// allocates once a connection is made.
package wire

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// Conn is a connection whose silence is bounded. Over makes one. Reading and writing may happen in two
// goroutines, each of which owns the deadline of its direction; Stop, BoundRead and IsStopped are for
// any goroutine, and the rest for the owner of the connection.
type Conn struct {
	*socket
	readBy, writeBy time.Time   // the deadlines that are set
	stopped         atomic.Bool // by Stop
}

// netConn is net.Conn under a name that does not hide the connections that embed it.
type netConn = net.Conn

// Over returns a Conn over a connection that has no deadlines.
func Over(conn net.Conn) Conn { return Conn{socket: newSocket(conn)} }

// ExpectRead lets the reads from now on wait for timeout, or up to an eighth longer: a deadline that
// is far enough away is left alone, because setting one costs more than comparing two times.
func (c *Conn) ExpectRead(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.readBy, now, timeout); ok {
		_ = c.SetReadDeadline(by) // fails on a closed connection: the read says so
		c.KeepStopped()
	}
}

// ExpectWrite is ExpectRead for writes.
func (c *Conn) ExpectWrite(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.writeBy, now, timeout); ok {
		c.writeBy = by
		_ = c.netConn.SetWriteDeadline(by)
		c.KeepStopped()
	}
}

// tries is how often, within a timeout, Deliver tries to write on.
const tries = 8

// Deliver writes all of p to a peer that may be slow, but not take nothing for longer than timeout, or
// up to a quarter more. The kernel wakes a writer only once a third of its buffer is free, which may
// take a slow peer long: a write that is tried again finds out earlier that the peer reads. now is the
// time. n counts the bytes written, also where there is an error.
func (c *Conn) Deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error) {
	for silent := 0; silent < tries; now = time.Now() {
		var m int
		c.ExpectWrite(now, timeout/tries)
		m, err = c.Write(p[n:])
		n += m
		if err == nil || !TimedOut(err) || c.IsStopped() {
			break
		}
		if silent++; m > 0 {
			silent = 0
		}
	}
	return n, err
}

// SetReadDeadline sets the deadline and remembers it.
func (c *Conn) SetReadDeadline(by time.Time) error {
	c.readBy = by
	return c.netConn.SetReadDeadline(by)
}

// BoundRead sets the deadline of a read that another goroutine waits in, and that owns the fields.
func (c *Conn) BoundRead(by time.Time) { _ = c.netConn.SetReadDeadline(by) }

// Raw returns the connection below. Bytes copied between two of them can stay in the kernel (splice).
func (c *Conn) Raw() net.Conn { return c.netConn }

// Stop ends what another goroutine reads or writes, and whatever it starts before Resume.
func (c *Conn) Stop() {
	c.stopped.Store(true)
	_ = c.SetDeadline(longAgo)
}

// IsStopped reports whether Stop was called, and not Resume since.
func (c *Conn) IsStopped() bool { return c.stopped.Load() }

// ForgetRead makes the next ExpectRead set the deadline in any case: BoundRead has set another.
func (c *Conn) ForgetRead() { c.readBy = time.Time{} }

// KeepStopped takes back a deadline that was set while the connection was stopped.
func (c *Conn) KeepStopped() {
	if c.IsStopped() {
		_ = c.SetDeadline(longAgo)
	}
}

// Resume follows Stop, once the other goroutine has ended. It leaves no deadline behind, neither in
// the fields nor on the connection: fasthttp, which writes the answers of the API, sets none before it
// writes.
func (c *Conn) Resume() {
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

// TimedOut reports whether a deadline has ended what was waited for.
func TimedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// longAgo is a deadline that ends whatever waits.
var longAgo = time.Unix(1, 0)
