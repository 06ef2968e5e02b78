package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// secure is TLS on a connection. Deadlines, whether the peer is there, and what is under way are
// looked up below it, at the socket.
type secure struct {
	*tls.Conn
	below  below
	strict bool    // see ExpectCloseNotify
	byte   [1]byte // for Quiet
}

// below is the socket as TLS sees it.
type below struct {
	net.Conn               // the socket's own
	over     *Conn         // reads and writes
	early    []byte        // what has come before the handshake
	gate     Gate          // of the handshake under way; nil: none is
	by       time.Time     // when it must have ended
	patience time.Duration // a write may last as long as the peer takes something within that; 0: until the deadline
	noWait   bool          // reads take what is there
	ended    bool          // the peer's FIN has come
	closing  atomic.Bool   // writes send what the system takes
	writers  atomic.Int32  // that write or do the handshake; without one, reads write
}

// Gate bounds how many handshakes compute at once: one that waits for its peer has left the gate.
// The nil Gate bounds nothing. It is safe for concurrent use.
type Gate chan struct{}

// NewGate returns a Gate for this many handshakes, at least one.
func NewGate(most int) Gate { return make(Gate, max(1, most)) }

func (g Gate) enter() {
	if g != nil {
		g <- struct{}{}
	}
}

func (g Gate) leave() {
	if g != nil {
		<-g
	}
}

// Secure makes the connection one of TLS: side is tls.Server or tls.Client. early are bytes that
// were read from the connection before. The connection must not be copied after this, and Handshake
// must follow.
func (c *Conn) Secure(side func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config, early []byte) {
	s := &secure{below: below{Conn: c.netConn, over: c, early: early}}
	s.Conn = side(&s.below, config)
	c.secure = s
}

// Handshake does the TLS handshake, which must have ended at by. It computes within the gate, and
// leaves no deadline. On a connection in the clear it does nothing.
func (c *Conn) Handshake(by time.Time, gate Gate) error {
	s := c.secure
	if s == nil {
		return nil
	}
	if err := c.netConn.SetDeadline(by); err != nil {
		return err
	}
	gate.enter()
	s.below.gate, s.below.by = gate, by
	s.below.writers.Add(1)
	err := s.Conn.Handshake()
	s.below.writers.Add(-1)
	s.below.gate = nil
	gate.leave()
	c.readBy, c.writeBy = time.Time{}, time.Time{}
	_ = c.netConn.SetDeadline(time.Time{})
	c.KeepStopped()
	return err
}

// IsSecure reports whether the connection is one of TLS.
func (c *Conn) IsSecure() bool { return c.secure != nil }

// ConnectionState returns what the handshake has agreed on. In the clear it is the zero value.
func (c *Conn) ConnectionState() tls.ConnectionState {
	if c.secure == nil {
		return tls.ConnectionState{}
	}
	return c.secure.Conn.ConnectionState()
}

// errCut is for an end without close_notify, which anything on the way can cause.
var errCut = errors.New("the connection was closed without TLS's close_notify: what came last may be missing")

// ExpectCloseNotify makes Read return another error than io.EOF where a connection of TLS ends
// without the peer saying so: anything on the way can end it like that. It is called before the
// first Read.
func (c *Conn) ExpectCloseNotify() {
	if c.secure != nil {
		c.secure.strict = true
	}
}

// Read waits for bytes, as net.Conn does.
func (c *Conn) Read(p []byte) (int, error) {
	if c.secure != nil {
		return c.secure.read(p)
	}
	return c.socket.Read(p)
}

// read is Conn.Read.
func (s *secure) read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.strict && s.below.ended && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, err
}

// Write writes all of p or returns an error, as net.Conn does. After an error nothing can be written
// to a connection of TLS any more.
func (c *Conn) Write(p []byte) (int, error) {
	if c.secure != nil {
		return c.secure.Write(p)
	}
	return c.socket.Write(p)
}

// Write is Conn.Write.
func (s *secure) Write(p []byte) (int, error) {
	s.below.writers.Add(1)
	defer s.below.writers.Add(-1)
	return s.Conn.Write(p)
}

// Quiet reports whether nothing has arrived on an idle connection: neither its end, nor bytes,
// which would be taken for the response to a request not yet sent. If it returns false, a byte may
// be lost.
func (c *Conn) Quiet() bool {
	s := c.secure
	if s == nil || !c.socket.Tells() {
		return c.socket.Quiet()
	}
	// What concerns TLS alone, such as a session ticket, is read and does not count.
	s.below.noWait = true
	n, err := s.Conn.Read(s.byte[:])
	s.below.noWait = false
	return n == 0 && err == os.ErrDeadlineExceeded // which is that of below.Read; TimedOut would allocate
}

// maxRecord is the most bytes that a record of TLS holds (RFC 8446, section 5.1).
const maxRecord = 16 << 10

// Offer writes what the system takes of p without waiting, and reports whether that is not all
// because the peer is slow. What was not written otherwise, such as after a failure, is for Write.
// With TLS it may wait for the end of a record.
func (c *Conn) Offer(p []byte) (n int, slow bool) {
	if c.secure == nil {
		return c.socket.Offer(p)
	}
	for n < len(p) {
		if !c.socket.Writable() {
			return n, true
		}
		m, err := c.secure.Write(p[n:min(len(p), n+maxRecord)])
		if n += m; err != nil {
			return n, false
		}
	}
	return n, false
}

// Raw returns the connection to copy bytes from or to. Between two in the clear they can stay in
// the kernel (splice).
func (c *Conn) Raw() net.Conn {
	if c.secure != nil {
		return c.secure
	}
	return c.netConn
}

// Close closes the connection, and tells a peer of TLS that this is no interruption. It does not
// wait. Any goroutine may call it.
func (c *Conn) Close() error {
	if c.secure == nil {
		return c.netConn.Close()
	}
	c.secure.below.closing.Store(true)
	return c.secure.Conn.Close()
}

// CloseWrite tells the peer that nothing follows.
func (s *secure) CloseWrite() error {
	var err error
	if s.Conn.ConnectionState().HandshakeComplete {
		s.below.writers.Add(1)
		err = s.Conn.CloseWrite()
		s.below.writers.Add(-1)
	}
	if half, ok := s.below.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return err
}

// deliver is Conn.Deliver. The patience is below, because a record that was written in part cannot
// be given up.
func (s *secure) deliver(p []byte, timeout time.Duration) (int, error) {
	s.below.patience = timeout
	n, err := s.Write(p)
	s.below.patience = 0
	return n, err
}

// Outside runs f, which waits for something other than the peer, outside the gate of the handshake
// under way.
func (b *below) Outside(f func()) {
	b.gate.leave()
	defer b.gate.enter()
	f()
}

// Read reads what TLS is to decrypt.
func (b *below) Read(p []byte) (int, error) {
	if len(b.early) > 0 {
		n := copy(p, b.early)
		if b.early = b.early[n:]; len(b.early) == 0 {
			b.early = nil
		}
		return n, nil
	}
	if b.noWait && b.over.socket.Quiet() {
		return 0, os.ErrDeadlineExceeded
	}
	b.gate.leave()
	n, err := b.over.socket.Read(p)
	b.gate.enter()
	b.ended = b.ended || err == io.EOF
	if b.gate != nil && time.Now().After(b.by) { // nothing is computed for a peer that has waited in vain
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// Write writes what TLS has encrypted.
func (b *below) Write(p []byte) (int, error) {
	switch {
	case b.closing.Load():
		_, _ = b.over.socket.Offer(p)
		return len(p), nil
	case b.writers.Load() == 0:
		return b.reply(p)
	case b.patience > 0:
		return b.over.deliver(time.Now(), p, b.patience)
	}
	return b.over.socket.Write(p)
}

var errReply = errors.New("the peer does not read what TLS has to answer")

// reply writes the answer to what a read has met that concerns TLS alone, such as another key. Then
// any deadline of writes is that of a write long over, or there is none, and the reader must not be
// held up by a peer that only sends.
func (b *below) reply(p []byte) (int, error) {
	if n := b.over.socket.Reply(p); n < len(p) {
		return n, errReply
	}
	return len(p), nil
}
