package proxy

import (
	"net"
	"time"
)

// ending says how a connection ends. It only rises, see raise.
type ending uint8

const (
	endNever  ending = iota // it serves on
	endClose                // with FIN, behind the response
	endLinger               // with FIN, and the peer may still be sending: it gets time to read the response
	endReset                // with RST: what it got is not whole
)

// raise makes the end at least this one.
func (e *ending) raise(to ending) { *e = max(*e, to) }

// raiseIf is raise where the condition holds.
func (e *ending) raiseIf(condition bool, to ending) {
	if condition {
		e.raise(to)
	}
}

const (
	lingerTime   = time.Second
	lingerBytes  = 16 << 20
	lingerBuffer = 4 << 10 // small: bad requests are cheap to send, and each has one for lingerTime
)

// end closes the connection. With endLinger it first sends FIN and reads on for a while: data that
// nothing has read would make the kernel send RST, which can destroy the response before the peer
// reads it (RFC 9112, section 9.6).
func (c *timedConn) end(how ending) error {
	switch how {
	case endLinger:
		c.readOn()
	case endReset:
		c.resetOnClose()
	}
	return c.netConn.Close()
}

// readOn sends FIN and drops what the peer still sends, within bounds.
func (c *timedConn) readOn() {
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

// resetOnClose makes whatever closes the connection send RST, over TCP.
func (c *timedConn) resetOnClose() {
	if tcp, ok := c.netConn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
