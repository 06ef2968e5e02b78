package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
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

// TestSwapKeepsWhatWaits has clients connect before any Accept: the close of the listener, by
// another or for good, loses none of them.
func TestSwapKeepsWhatWaits(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the waiting connections are taken on Linux alone")
	}
	first := open(t)
	second, err := listenUnix("key", filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSwap(Patient(first, zerolog.Nop()))
	var clients []net.Conn
	connect := func(address net.Addr) {
		t.Helper()
		for range 3 {
			conn, err := net.Dial(address.Network(), address.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			clients = append(clients, conn)
		}
	}
	connect(first.Addr())
	s.Use(second)
	connect(second.Addr())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range clients {
		conn, err := s.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "x")
		conn.Close()
	}
	if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	for i, conn := range clients {
		if got, err := io.ReadAll(conn); string(got) != "x" || err != nil {
			t.Errorf("client %d got %q, %v", i, got, err)
		}
	}
}
