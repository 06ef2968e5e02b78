package listen

import (
	"net"
	"syscall"
	"testing"
)

// TestQueueIsTakenInPart leaves connections in the queue that there is no room for.
func TestQueueIsTakenInPart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 5 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{3, 2, 0} {
		var accepted []int
		if err := raw.Control(func(fd uintptr) { accepted = acceptWaiting(int(fd), nil, 3) }); err != nil {
			t.Fatal(err)
		}
		for _, fd := range accepted {
			_ = syscall.Close(fd)
		}
		if len(accepted) != want {
			t.Errorf("%d connections were taken, want %d", len(accepted), want)
		}
	}
}
