package wire

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// socket reads and writes a connection with recvfrom and sendto, without telling the scheduler: the
// file descriptor never blocks, so the scheduler need not know. That saves 4 % of the CPU time of a
// small request. It allocates nothing; one goroutine may read while another writes.
type socket struct {
	netConn
	raw syscall.RawConn // nil: there is no file descriptor, and netConn does the work

	// Of the read under way: the room, the bytes read and the error.
	in    []byte
	got   int
	inErr syscall.Errno

	// Of the write under way: the rest to write, the bytes written and the error.
	out    []byte
	put    int
	outErr syscall.Errno

	silent   bool // what the last peek found: nothing has arrived
	writable bool // what the last ask found

	recv, send, offer func(fd uintptr) bool // made once: a closure for each call would be allocated
	peek, ask         func(fd uintptr)
	wake              func(fd uintptr) bool
}

func newSocket(conn net.Conn) *socket {
	s := &socket{netConn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn()
	}
	s.recv, s.send, s.offer, s.peek, s.ask, s.wake = s.recvfrom, s.sendto, s.sendNow, s.lookAt, s.askWritable, s.hasArrived
	return s
}

// Read waits for bytes, as net.Conn does.
func (s *socket) Read(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return s.netConn.Read(p)
	}
	s.in, s.got, s.inErr = p, 0, 0
	err := s.raw.Read(s.recv)
	s.in = nil
	switch {
	case err != nil:
		return 0, err
	case s.inErr != 0:
		return 0, s.inErr
	case s.got == 0:
		return 0, io.EOF
	}
	return s.got, nil
}

// Write writes all of p or returns an error, as net.Conn does.
func (s *socket) Write(p []byte) (int, error) {
	if s.raw == nil {
		return s.netConn.Write(p)
	}
	s.out, s.put, s.outErr = p, 0, 0
	err := s.raw.Write(s.send)
	s.out = nil
	if err == nil && s.outErr != 0 {
		err = s.outErr
	}
	return s.put, err
}

// Quiet reports whether nothing has arrived: neither the connection's end, nor bytes.
func (s *socket) Quiet() bool {
	return s.raw == nil || s.raw.Control(s.peek) == nil && s.silent
}

// Await waits until something has arrived, without reading it, at most until the deadline for reads.
// It must only be called where Tells is true.
func (s *socket) Await() error { return s.raw.Read(s.wake) }

func (s *socket) hasArrived(fd uintptr) (done bool) {
	s.lookAt(fd)
	return !s.silent
}

// Tells reports whether Quiet can tell.
func (s *socket) Tells() bool { return s.raw != nil }

// Writable reports whether the system takes bytes without waiting, about a third of its buffer.
func (s *socket) Writable() bool {
	if s.raw == nil {
		return true
	}
	_ = s.raw.Control(s.ask)
	return s.writable
}

func (s *socket) askWritable(fd uintptr) {
	const pollOut = 4
	at := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollOut}
	var now syscall.Timespec
	n, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&at)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	s.writable = n > 0 // an error is writable, too: the write reports it
}

// UnderWay returns how many of the bytes written the peer has not taken yet.
func (s *socket) UnderWay() (n int) {
	if s.raw == nil {
		return 0
	}
	var queued int32
	_ = s.raw.Control(func(fd uintptr) {
		_, _, _ = syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
	})
	return int(queued)
}

func (s *socket) recvfrom(fd uintptr) (done bool) {
	n, errno := receive(fd, s.in, 0)
	for errno == syscall.EINTR {
		n, errno = receive(fd, s.in, 0)
	}
	if errno == syscall.EAGAIN {
		return false
	}
	s.got, s.inErr = n, errno
	return true
}

func (s *socket) sendto(fd uintptr) (done bool) {
	for len(s.out) > 0 {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(s.out))), uintptr(len(s.out)), syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			s.put += int(n)
			s.out = s.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			s.outErr = errno
			return true
		}
	}
	return true
}

// Offer writes what the system takes of p without waiting, and reports whether that is not all
// because the peer is slow. What was not written otherwise, such as after a failure, is for Write.
func (s *socket) Offer(p []byte) (n int, slow bool) {
	if s.raw == nil {
		return 0, false
	}
	s.out, s.put, s.outErr = p, 0, 0
	err := s.raw.Write(s.offer)
	slow = err == nil && s.outErr == 0 && s.put < len(p)
	s.out = nil
	return s.put, slow
}

// Reply writes what the system takes of p without waiting, whatever the deadline.
func (s *socket) Reply(p []byte) (n int) {
	if s.raw == nil {
		n, _ = s.netConn.Write(p)
		return n
	}
	s.out, s.put, s.outErr = p, 0, 0
	_ = s.raw.Control(func(fd uintptr) { s.sendNow(fd) }) // not more than it does is written
	s.out = nil
	return s.put
}

func (s *socket) sendNow(fd uintptr) (done bool) {
	s.sendto(fd)
	return true
}

func (s *socket) lookAt(fd uintptr) {
	var b [1]byte
	_, errno := receive(fd, b[:], syscall.MSG_PEEK)
	s.silent = errno == syscall.EAGAIN
}

func receive(fd uintptr, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd,
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
