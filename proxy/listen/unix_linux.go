package listen

import (
	"io/fs"
	"syscall"
)

// boundMode limits the mode of the file that an unbound socket will get: Linux creates the file
// with the socket's mode, minus the umask.
func boundMode(socket syscall.RawConn, mode fs.FileMode) error {
	var chmodErr error
	err := socket.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), uint32(mode)) })
	if err != nil {
		return err
	}
	return chmodErr
}
