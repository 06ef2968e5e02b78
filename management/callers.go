package management

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/wire"
)

// callers is a listener whose connections bound either a call as a whole, as its server tells them
// to, or each silence of their clients, and which can end what clients still send. It is safe for
// concurrent use.
type callers struct {
	net.Listener
	timeout time.Duration // of a call, or of each silence of the client in a call that is not bounded as a whole
	most    int           // connections at a time
	hurry   atomic.Bool   // the end has come

	mu   sync.Mutex
	open map[*caller]struct{}
	end  time.Time // zero: not yet
}

// caller is a connection of a client. One goroutine uses it; any may close it while it waits for a
// request.
type caller struct {
	wire.Conn
	of *callers
	// Each wait for the client to send or take something is bounded, until the next deadline is set.
	patientReads, patientWrites bool

	// Guarded by of.mu, because idle connections are closed from other goroutines.
	lingers bool      // the client may still be sending when this exchange ends the connection
	waits   time.Time // since when a request is awaited; zero: a call is under way
	closed  bool
}

func newCallers(ln net.Listener, timeout time.Duration) *callers {
	return &callers{Listener: ln, timeout: timeout, most: mostCallers(openDescriptors()), open: map[*caller]struct{}{}}
}

// mostCallers returns how many connections there may be at a time. A connection needs no token, and
// the traffic lacks the descriptor that it takes. d is nil where the system does not tell.
func mostCallers(d *Descriptors) int {
	const least, most = 32, 1000
	if d == nil {
		return most
	}
	return int(min(max(d.Limit/8, least), most))
}

// Accept waits for the next connection. Where there are as many as there may be, it takes the place of
// the one that has waited longest for a request; without one, it is closed.
func (l *callers) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &caller{Conn: wire.Over(conn), of: l, waits: time.Now()}
		idle, ok := l.add(c)
		if idle != nil {
			_ = idle.Close()
		}
		if ok {
			return c, nil
		}
		_ = conn.Close()
	}
}

// add adds a connection. Where there are as many as there may be, it needs the place of an idle one,
// which it returns, and fails without one.
func (l *callers) add(c *caller) (idle *caller, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.most {
		for other := range l.open {
			if !other.closed && !other.waits.IsZero() && (idle == nil || other.waits.Before(idle.waits)) {
				idle = other
			}
		}
		if idle == nil {
			return nil, false
		}
	}
	l.open[c] = struct{}{}
	return idle, true
}

// endReads has no connection wait for its client beyond the time given. Writes go on.
func (l *callers) endReads(at time.Time) {
	l.hurry.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = at
	for c := range l.open {
		c.BoundRead(at)
	}
}

// cut resets the connections that are still open.
func (l *callers) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.End(wire.Reset, nil)
	}
}

// BoundSilence has the connection wait as long as its client is never silent for longer than
// callers.timeout, both when it reads and when it writes, until the server sets the next deadline.
func (c *caller) BoundSilence() { c.patientReads, c.patientWrites = true, true }

// beginCall keeps the connection of a call, until the next request is awaited.
func (c *caller) beginCall() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.waits = time.Time{}
}

// endCall ends a call whose request had a body if sends is true. What is left of the body is bounded as
// a whole. Where the connection ends now, Close lingers; at the end, for which a successor waits, it
// does so after an upload alone.
func (c *caller) endCall(sends bool) {
	uploads := c.patientReads
	c.patientReads = false
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if uploads {
		_ = c.boundRead(time.Now().Add(c.of.timeout)) // fails on a closed connection, of no use any more
	}
	c.lingers = uploads || sends && !c.of.hurry.Load()
}

// SetReadDeadline sets the deadline, which is not after that of endReads. The server calls it before it
// waits for a request, and reads none where it fails.
func (c *caller) SetReadDeadline(t time.Time) error {
	c.patientReads = false
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.lingers = false
	if c.waits.IsZero() { // else since it was accepted, which may be a while ago on a busy machine
		c.waits = time.Now()
	}
	return c.boundRead(t)
}

// boundRead is SetReadDeadline within a call, while of.mu is held.
func (c *caller) boundRead(t time.Time) error {
	if c.closed {
		return net.ErrClosed
	}
	if end := c.of.end; !end.IsZero() && (t.IsZero() || end.Before(t)) {
		t = end
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline.
func (c *caller) SetWriteDeadline(t time.Time) error {
	c.patientWrites = false
	return c.Conn.SetWriteDeadline(t)
}

// Read reads what the client sends. An upload that the end has cut short fails with net.ErrClosed.
func (c *caller) Read(p []byte) (int, error) {
	if !c.patientReads {
		return c.Conn.Read(p)
	}
	c.of.mu.Lock()
	_ = c.boundRead(time.Now().Add(c.of.timeout)) // fails on a closed connection, which the read reports
	c.of.mu.Unlock()
	n, err := c.Conn.Read(p)
	if n == 0 && wire.TimedOut(err) && c.of.hurry.Load() {
		err = net.ErrClosed
	}
	return n, err
}

// Write writes to the client.
func (c *caller) Write(p []byte) (int, error) {
	if !c.patientWrites {
		return c.Conn.Write(p)
	}
	return c.Deliver(time.Now(), p, c.of.timeout)
}

// Close closes the connection. Where the client may still be sending it reads on for a while first:
// a reset could destroy the answer before the client has read it.
func (c *caller) Close() error {
	c.of.mu.Lock()
	closed, how := c.closed, wire.Close
	if c.closed = true; c.lingers {
		how = wire.Linger
	}
	c.of.mu.Unlock()
	if closed {
		return nil
	}
	err := c.End(how, &c.of.hurry)
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return err
}
