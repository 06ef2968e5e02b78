//go:build !linux

package listen

import (
	"io/fs"
	"syscall"
)

// boundMode does nothing: only Linux uses the mode of an unbound socket.
func boundMode(syscall.RawConn, fs.FileMode) error { return nil }
