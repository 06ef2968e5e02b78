package listen

import (
	"net"
	"sync"
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

// TestSwapAwaitsHandshakes has a client whose handshake has not ended when its listener is replaced:
// the listener refuses others at once, and takes this one. A deferred accept keeps the handshake
// open until the client writes.
func TestSwapAwaitsHandshakes(t *testing.T) {
	t.Run("TCP", func(t *testing.T) { testAwaitsHandshakes(t, false) })
	t.Run("multipath TCP", func(t *testing.T) { testAwaitsHandshakes(t, true) }) // as of net.Listen
}

func testAwaitsHandshakes(t *testing.T, multipath bool) {
	var config net.ListenConfig
	config.SetMultipathTCP(multipath)
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var deferred error
	if err := raw.Control(func(fd uintptr) {
		deferred = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 5)
	}); err != nil || deferred != nil {
		t.Fatal(err, deferred)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := NewSwap(ln)
	var moved sync.WaitGroup
	moved.Go(func() { s.Use(nil) })
	for reach(t, ln.Addr().String()) { // until others are refused
	}
	_, _ = client.Write([]byte("x"))
	moved.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	read := 0
	for {
		conn, err := s.Accept() // the connections of reach, too, which are empty
		if err != nil {
			break
		}
		n, _ := conn.Read(make([]byte, 1))
		read += n
		conn.Close()
	}
	if read != 1 {
		t.Error("the client whose handshake was under way is lost")
	}
}
