package listen

import (
	"math"
	"net"
	"os"
	"syscall"
)

// soBindToIfindex is SO_BINDTOIFINDEX of include/uapi/asm-generic/socket.h, which syscall lacks.
const soBindToIfindex = 62

// refuseNew has a TCP listener that is about to be closed refuse new clients, while it still accepts
// those whose handshake is under way. It reports whether the listener does; Linux before 5.7 wants
// CAP_NET_RAW for it. A listener whose socket another process may hold goes on as before.
//
// The system has no call for this, but a listener that is bound to a network interface gets only the
// handshakes that begin there, and the system does not ask whether that interface exists.
func refuseNew(ln net.Listener) (refuses bool) {
	socket, ok := ln.(syscall.Conn)
	if _, tcp := ln.Addr().(*net.TCPAddr); !ok || !tcp {
		return false // a unix socket has no handshakes
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // fails where the listener is closed
		refuses = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soBindToIfindex, math.MaxInt32) == nil
	})
	return refuses
}

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
