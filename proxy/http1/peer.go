package http1

import (
	"net"
	"net/netip"
)

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
