//go:build !linux

package wire

import "net"

// socket is the connection itself: only Linux gets a shorter way.
type socket struct{ netConn }

func newSocket(conn net.Conn) *socket { return &socket{conn} }

// Quiet takes every idle connection for usable: only Linux is asked.
func (*socket) Quiet() bool { return true }

// UnderWay is not known: only Linux is asked.
func (*socket) UnderWay() int { return 0 }
