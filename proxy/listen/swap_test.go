package listen

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// reach reports whether the address accepts, and fails the test where it hangs.
func reach(t *testing.T, address string) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// TestSwap changes what is listened on while connections are accepted: the address before refuses,
// the new one accepts, and a connection of the old one lives on.
func TestSwap(t *testing.T) {
	first, second := open(t), open(t)
	s := NewSwap(first)
	accepted := make(chan net.Conn, 8)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	old, err := net.Dial("tcp", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	served := <-accepted
	defer served.Close()
	s.Use(second)
	if reach(t, first.Addr().String()) || s.Addr() != second.Addr() {
		t.Error("the address before still accepts")
	}
	if !reach(t, second.Addr().String()) {
		t.Error("the new address does not accept")
	}
	(<-accepted).Close()
	if _, err := served.Write([]byte("x")); err != nil {
		t.Errorf("a connection of the address before is cut: %v", err)
	}
	s.Use(nil)
	if reach(t, second.Addr().String()) {
		t.Error("an address accepts although none is in use")
	}
	third := open(t)
	s.Use(third)
	if !reach(t, third.Addr().String()) {
		t.Error("the third address does not accept")
	}
	(<-accepted).Close()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	late := open(t)
	if s.Use(late); reach(t, late.Addr().String()) {
		t.Error("a listener that came after Close is open")
	}
}

// TestSwapWithoutListener ends a wait for a listener that never comes.
func TestSwapWithoutListener(t *testing.T) {
	s := NewSwap(nil)
	var waits sync.WaitGroup
	waits.Go(func() {
		if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	waits.Wait()
}
