// Package wire reads and writes connections under deadlines, watches whether their peers are still
// there, and ends them.
//
// On Linux, reads and writes bypass the Go scheduler, because the sockets never block. Nothing here
// allocates once a connection is made.
//
// The package knows no protocol.
package wire

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// Conn is a connection with deadlines for reading and writing. Over makes one. One goroutine may
// read while another writes; each owns the deadline of its direction. Stop, Recall, AllowRecall,
// BoundRead and IsStopped may be called by any goroutine, and the rest only by the owner of the
// connection.
type Conn struct {
	*socket
	secure          *secure     // nil: in the clear
	readBy, writeBy time.Time   // the current deadlines
	stopped         atomic.Bool // set by Stop
	recall          recall
}

// netConn is net.Conn under a name that does not shadow the types that embed it.
type netConn = net.Conn

// Over returns a Conn over a connection that has no deadlines.
func Over(conn net.Conn) Conn { return Conn{socket: newSocket(conn)} }

// ExpectRead lets reads from now on wait for timeout, or up to an eighth longer. It keeps a
// deadline that is far enough away, because setting one costs more than comparing two times.
func (c *Conn) ExpectRead(now time.Time, timeout time.Duration) {
	if by, ok := roll(c.readBy, now, timeout); ok {
		_ = c.SetReadDeadline(by) // fails on a closed connection, which the read reports
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

// tries is how often Deliver resumes a write within the timeout.
const tries = 8

// Deliver writes all of p to a peer that may be slow, but must take something within every timeout,
// or up to a quarter longer. The kernel wakes a writer only once a third of its buffer is free,
// which may take long with a slow peer; trying again shows earlier that the peer still reads. now
// is the current time. n is the number of bytes written, even if there is an error.
func (c *Conn) Deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error) {
	if c.secure != nil {
		return c.secure.deliver(p, timeout)
	}
	return c.deliver(now, p, timeout)
}

// deliver is Deliver below TLS.
func (c *Conn) deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error) {
	for silent := 0; silent < tries; now = time.Now() {
		var m int
		c.ExpectWrite(now, timeout/tries)
		m, err = c.socket.Write(p[n:])
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

// SetReadDeadline sets the deadline and records it.
func (c *Conn) SetReadDeadline(by time.Time) error {
	c.readBy = by
	return c.netConn.SetReadDeadline(by)
}

// BoundRead sets the deadline of a read in another goroutine, which owns the fields.
func (c *Conn) BoundRead(by time.Time) { _ = c.netConn.SetReadDeadline(by) }

// Stop interrupts the reads and writes of other goroutines, and makes those that follow fail until
// Resume.
func (c *Conn) Stop() {
	c.stopped.Store(true)
	_ = c.SetDeadline(longAgo)
}

// IsStopped reports whether Stop was called, without a Resume since.
func (c *Conn) IsStopped() bool { return c.stopped.Load() }

// ForgetRead makes the next ExpectRead set the deadline in any case, because BoundRead has set
// another.
func (c *Conn) ForgetRead() { c.readBy = time.Time{} }

// KeepStopped undoes a deadline that was set while the connection was stopped.
func (c *Conn) KeepStopped() {
	if c.IsStopped() {
		_ = c.SetDeadline(longAgo)
	}
}

// Resume undoes Stop, once the other goroutine has ended. It leaves no deadline, neither in the
// fields nor on the connection: fasthttp sets none before it writes an answer of the API.
func (c *Conn) Resume() {
	c.stopped.Store(false)
	c.readBy, c.writeBy = time.Time{}, time.Time{}
	_ = c.netConn.SetDeadline(time.Time{}) // fails on a closed connection: the next call reports it
}

// roll returns the deadline to set, and whether the current one must be replaced.
func roll(by, now time.Time, timeout time.Duration) (time.Time, bool) {
	slack := timeout / 8
	if left := by.Sub(now); left >= timeout && left <= timeout+slack {
		return by, false
	}
	return now.Add(timeout + slack), true
}

// TimedOut reports whether err is a deadline that has passed.
func TimedOut(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// longAgo is a deadline that interrupts everything that waits.
var longAgo = time.Unix(1, 0)
