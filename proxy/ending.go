package proxy

import "net"

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

// endWithReset makes Close send RST, over TCP.
func endWithReset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
