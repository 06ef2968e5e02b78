package listen

import (
	"math"
	"net"
	"os"
	"syscall"
)

// queued ends a listener that is about to be closed, and returns the connections that the system
// has accepted for it and that no Accept has taken: their clients may have sent a request, and
// closing the listener would reset them. A listener that does not give its socket has none: another
// process may hold that socket too.
func queued(ln net.Listener) (conns []net.Conn) {
	socket, ok := ln.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var accepted []int
	most := mostQueued()
	_ = raw.Control(func(fd uintptr) { // fails where the listener is closed
		accepted = acceptWaiting(int(fd), nil, most)
		_ = syscall.Shutdown(int(fd), syscall.SHUT_RD)    // at once: what comes in between is reset
		accepted = acceptWaiting(int(fd), accepted, most) // a unix socket keeps what came in between
	})
	for _, fd := range accepted {
		file := os.NewFile(uintptr(fd), "")
		if conn, err := net.FileConn(file); err == nil { // a duplicate
			conns = append(conns, conn)
		}
		_ = file.Close()
	}
	return conns
}

// mostQueued returns how many connections are taken from a queue at most: an eighth of the
// process's file descriptors, since requests under way need others to their backends.
func mostQueued() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur/8, math.MaxInt32))
}

// acceptWaiting appends the connections that wait at a listening socket, which does not block,
// until there are this many.
func acceptWaiting(socket int, accepted []int, most int) []int {
	for len(accepted) < most {
		fd, _, err := syscall.Accept4(socket, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
			accepted = append(accepted, fd)
		case syscall.ECONNABORTED, syscall.EINTR:
		default: // none waits, or there is no room for one
			return accepted
		}
	}
	return accepted
}
