package http1

import (
	"time"

	"loadbalancer/proxy/wire"
)

// A connection that has been idle for a while is parked: it leaves fasthttp, whose buffers and
// RequestCtx take more than 20 KiB, and its goroutine waits without them until something arrives.
// Then fasthttp serves it again.

// How long a connection is idle before it is parked, or up to an eighth longer. To be served again
// costs about 15 µs: in the clear, where a request costs little more, a client that sends one each
// second does not pay for that.
const (
	parkAfter   = 500 * time.Millisecond // with TLS
	parkInClear = 5 * time.Second
)

// parkAfter returns how long the connection is idle before it is parked.
func (c *clientConn) parkAfter() time.Duration {
	if c.IsSecure() {
		return parkAfter
	}
	return parkInClear
}

// mayPark parks the connection if err, of a read, only tells that nothing has come for parkAfter.
// Its read must then fail, so that fasthttp lets go of it.
func (c *clientConn) mayPark(err error) bool {
	if c.resumed || c.lastUse.IsZero() || !wire.TimedOut(err) || c.scan != (headerScan{}) || !c.headerBy.IsZero() || !c.Tells() || c.IsStopped() || !time.Now().Before(c.idleBy()) {
		return false
	}
	c.parked.Store(true)
	if c.draining.Load() { // closeUnused may have passed by
		c.parked.Store(false)
	}
	return c.parked.Load()
}

// idleBy returns when the connection has been idle for too long.
func (c *clientConn) idleBy() time.Time { return c.lastUse.Add(c.bounds.Load().IdleTimeout) }

// awaitNext waits for the next request, and reports whether something has arrived.
func (c *clientConn) awaitNext() bool {
	_ = c.SetReadDeadline(c.idleBy()) // fails on a closed connection, which Await reports
	c.resumed = c.Await() == nil
	return c.resumed
}
