//go:build !linux

package proxy

import "net"

// socket is the connection itself: only Linux gets a shorter way.
type socket struct{ netConn }

func newSocket(conn net.Conn) *socket { return &socket{conn} }

// quiet takes every idle connection for usable: only Linux is asked.
func (*socket) quiet() bool { return true }

// underWay is not known: only Linux is asked.
func (*socket) underWay() int { return 0 }
