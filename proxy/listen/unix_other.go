//go:build !linux

package listen

import (
	"io/fs"
	"syscall"
)

// boundMode does nothing: the mode of a socket that is not bound yet counts on Linux alone.
func boundMode(syscall.RawConn, fs.FileMode) error { return nil }
