package listen

import (
	"io/fs"
	"syscall"
)

// boundMode gives a socket that is not bound yet the mode that its file gets at most: Linux makes
// the file with the socket's mode, without the umask's bits.
func boundMode(socket syscall.RawConn, mode fs.FileMode) error {
	var chmodErr error
	err := socket.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), uint32(mode)) })
	if err != nil {
		return err
	}
	return chmodErr
}
