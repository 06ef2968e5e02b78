package healthz

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blackhole returns a TCP address where connects get no answer: the kernel drops what does not fit
// a full backlog.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "blackhole")
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	keep, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(keep) })
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 16 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel answers connects to a full backlog")
	return ""
}

func TestCheckConnectTimeout(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Timeout = 100 * time.Millisecond
	began := time.Now()
	err := check(t.Context(), cfg, Target{Name: "main/hole", Network: "tcp", Address: blackhole(t)})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "not done within 100ms") {
		t.Errorf("got %v, want a timeout", err)
	}
	if got := causeOf(err); got != NoAnswer {
		t.Errorf("the cause is %s, want %s", got, NoAnswer)
	}
}
