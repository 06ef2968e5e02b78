package ends

import (
	"net"
	"net/netip"
	"time"

	"loadbalancer/proxy/message"
)

// Conn is a client's connection that one server has accepted and another serves, since the client
// speaks another protocol.
type Conn interface {
	net.Conn
	// Deliver writes all of p to a peer that must take something within every timeout: see wire.Conn.
	Deliver(now time.Time, p []byte, timeout time.Duration) (n int, err error)
	// Peer returns the address at the other end, or the one in the connection's PROXY header.
	Peer() netip.Addr
	// Proxied reports whether the connection began with a PROXY header.
	Proxied() bool
	// Security returns what TLS tells of the client now, or nil in the clear.
	Security() *message.Security
	// SetIdle says whether no request is under way: a connection that is idle may be closed to make
	// place for another.
	SetIdle(idle bool)
}
