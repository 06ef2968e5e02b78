//go:build !linux

package wire

import (
	"errors"
	"net"
)

// socket is the connection itself: only Linux has a shorter way.
type socket struct{ netConn }

func newSocket(conn net.Conn) *socket { return &socket{conn} }

// Quiet returns true: only Linux can tell.
func (*socket) Quiet() bool { return true }

// Await returns an error: only Linux can wait without a buffer.
func (*socket) Await() error { return errors.ErrUnsupported }

// Tells returns false.
func (*socket) Tells() bool { return false }

// Writable returns true: only Linux can tell.
func (*socket) Writable() bool { return true }

// UnderWay returns 0: only Linux can tell.
func (*socket) UnderWay() int { return 0 }

// Reply writes p, until the deadline: only Linux can without waiting.
func (s *socket) Reply(p []byte) (n int) {
	n, _ = s.netConn.Write(p)
	return n
}

// Offer writes nothing: only Linux can without waiting.
func (*socket) Offer([]byte) (n int, slow bool) { return 0, false }
