//go:build !linux

package listen

import "net"

// portHolder returns "": the holder of a port is known on Linux only.
func portHolder(string) string { return "" }

// socketHolder returns "", as portHolder does.
func socketHolder(*net.UnixConn) string { return "" }
