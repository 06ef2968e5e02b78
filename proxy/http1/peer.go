package http1

import (
	"net"
	"net/netip"

	"loadbalancer/proxy/ends"
)

// PeerOf returns the address at the other end of a connection, which is that of a proxy's client if
// it began with a PROXY header, as proxied says. The connection may be another server's. A peer on
// a unix socket is 127.0.0.1.
func PeerOf(conn net.Conn) (peer netip.Addr, proxied bool) {
	switch c := conn.(type) {
	case *clientConn:
		return c.peer, c.forwarded
	case ends.Conn:
		return c.Peer(), c.Proxied()
	}
	return peerOf(conn), false
}

// peerOf returns the address at the other end. A peer on a unix socket is on this machine.
func peerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return addrOf(tcp)
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// addrOf returns an address in the form in which addresses are compared.
func addrOf(tcp *net.TCPAddr) netip.Addr {
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
