//go:build !linux

package listen

import "net"

// queued would take the connections that no Accept has taken yet.
func queued(net.Listener) []net.Conn { return nil }

// refuseNew would have a listener refuse new clients while the handshakes under way end.
func refuseNew(net.Listener) bool { return false }
