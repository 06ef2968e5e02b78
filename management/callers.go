package management

import (
	"net"
	"sync"
	"time"
)

// callers is a listener that can end what the clients of its connections still send. It is safe for
// concurrent use.
type callers struct {
	net.Listener

	mu   sync.Mutex
	open map[*caller]struct{}
	end  time.Time // zero: not yet
}

// caller is a connection of a client.
type caller struct {
	net.Conn
	of *callers
}

func newCallers(ln net.Listener) *callers {
	return &callers{Listener: ln, open: map[*caller]struct{}{}}
}

// Accept waits for the next connection.
func (l *callers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &caller{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
}

// endReads has no connection wait for its client beyond the time given. Writes go on.
func (l *callers) endReads(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = at
	for c := range l.open {
		_ = c.Conn.SetReadDeadline(at)
	}
}

// SetReadDeadline sets the deadline, which is not after that of endReads.
func (c *caller) SetReadDeadline(t time.Time) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if end := c.of.end; !end.IsZero() && (t.IsZero() || end.Before(t)) {
		t = end
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection.
func (c *caller) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
