package wire

import (
	"net"
	"sync/atomic"
	"time"
)

// Ending says how a connection ends. It only rises; see Raise.
type Ending uint8

// The ways a connection can end, each more final than the one before.
const (
	KeepOpen Ending = iota // it stays open
	Close                  // with FIN, after the response
	Linger                 // with FIN, and the peer, which may still be sending, gets time to read
	Reset                  // with RST: what the peer got is incomplete
)

// Raise makes the ending at least this one.
func (e *Ending) Raise(to Ending) { *e = max(*e, to) }

// RaiseIf is Raise where the condition holds.
func (e *Ending) RaiseIf(condition bool, to Ending) {
	if condition {
		e.Raise(to)
	}
}

// The bounds of reading on after Linger: of the peer's silence, and of the whole. There is none of
// the bytes: a peer that sends its whole request before it reads the answer has to get that far.
const (
	lingerSilence = time.Second
	lingerTime    = 30 * time.Second
	// lingerBuffer is small: bad requests are cheap to send, and each may hold one for lingerTime.
	lingerBuffer = 4 << 10
)

// End closes the connection. With Linger it first sends FIN and reads on for a while: unread data
// would make the kernel send RST, which can destroy the response before the peer has read it (RFC
// 9112, section 9.6). It reads on for a second in all once hurry is true.
func (c *Conn) End(how Ending, hurry *atomic.Bool) error {
	switch how {
	case Linger:
		c.readOn(hurry)
	case Reset:
		c.ResetOnClose()
		return c.netConn.Close() // an interruption: a peer of TLS must not take it for the end
	}
	return c.Close()
}

// readOn sends FIN and discards what the peer still sends, within bounds.
func (c *Conn) readOn(hurry *atomic.Bool) {
	half, ok := c.Raw().(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	scratch := make([]byte, lingerBuffer)
	began := time.Now()
	for now := began; ; now = time.Now() {
		wait := lingerWait(now.Sub(began), hurry.Load())
		if wait <= 0 {
			return
		}
		c.ExpectRead(now, wait)
		if n, err := c.socket.Read(scratch); n == 0 || err != nil { // what it says does not matter any more
			return
		}
	}
}

// lingerWait returns how long to wait for more from the peer, given the time that reading on has
// taken so far. If it is not above 0, that has been long enough.
func lingerWait(so time.Duration, hurry bool) time.Duration {
	if hurry {
		return lingerSilence - so
	}
	return min(lingerSilence, lingerTime-so)
}

// ResetOnClose makes closing the connection send RST, if it is a TCP connection.
func (c *Conn) ResetOnClose() {
	if tcp, ok := c.netConn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
