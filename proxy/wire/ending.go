package wire

import (
	"net"
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

// The bounds of reading on after Linger.
const (
	lingerTime  = time.Second
	lingerBytes = 16 << 20
	// lingerBuffer is small: bad requests are cheap to send, and each holds one for lingerTime.
	lingerBuffer = 4 << 10
)

// End closes the connection. With Linger it first sends FIN and reads on for a while: unread data
// would make the kernel send RST, which can destroy the response before the peer has read it (RFC
// 9112, section 9.6).
func (c *Conn) End(how Ending) error {
	switch how {
	case Linger:
		c.readOn()
	case Reset:
		c.ResetOnClose()
	}
	return c.netConn.Close()
}

// readOn sends FIN and discards what the peer still sends, within bounds.
func (c *Conn) readOn() {
	half, ok := c.netConn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.netConn.SetReadDeadline(time.Now().Add(lingerTime))
	scratch := make([]byte, lingerBuffer)
	for left := lingerBytes; left > 0; {
		n, err := c.netConn.Read(scratch)
		if err != nil {
			return
		}
		left -= n
	}
}

// ResetOnClose makes closing the connection send RST, if it is a TCP connection.
func (c *Conn) ResetOnClose() {
	if tcp, ok := c.netConn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
