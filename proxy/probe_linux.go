package proxy

import (
	"net"
	"syscall"
	"unsafe"
)

// probe looks whether an idle connection to a backend can serve another request.
// It allocates nothing and never waits.
type probe struct {
	raw   syscall.RawConn // nil: unknown, taken for usable
	look  func(fd uintptr)
	quiet bool
}

func newProbe(conn net.Conn) *probe {
	p := &probe{}
	if c, ok := conn.(syscall.Conn); ok {
		p.raw, _ = c.SyscallConn()
	}
	p.look = func(fd uintptr) {
		var b [1]byte
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		p.quiet = errno == syscall.EAGAIN
	}
	return p
}

// usable reports whether nothing has come on the connection: neither its end, nor
// bytes, which would be taken for the answer to a request not yet sent.
func (p *probe) usable() bool {
	return p.raw == nil || p.raw.Control(p.look) == nil && p.quiet
}
