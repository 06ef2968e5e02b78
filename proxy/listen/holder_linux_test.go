//go:build linux

package listen

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestPortHolder(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	us := fmt.Sprintf("held by %s (pid %d)", bytes.TrimSpace(comm), os.Getpid())

	tests := []struct {
		name          string
		listen        string // host to listen on
		network, host string // host to ask for
		want          string
	}{
		{"same address", "127.0.0.1", "tcp4", "127.0.0.1", us},
		{"every address asked for", "127.0.0.1", "tcp4", "", us},
		{"IPv4 wildcard asked for", "127.0.0.1", "tcp4", "0.0.0.0", us},
		{"IPv4 wildcard held", "0.0.0.0", "tcp4", "127.0.0.1", us},
		{"every address held", "", "tcp", "127.0.0.1", us},
		{"another address held", "127.0.0.2", "tcp4", "127.0.0.1", ""},
		{"name", "127.0.0.1", "tcp4", "localhost", us},
		{"IPv6", "::1", "tcp6", "::1", us},
		{"IPv6 held, every address asked for", "::1", "tcp6", "", us},
		{"another family", "::1", "tcp6", "127.0.0.1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen(tt.network, net.JoinHostPort(tt.listen, "0"))
			if err != nil && tt.network == "tcp6" {
				t.Skip("no IPv6 here:", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			addr := net.JoinHostPort(tt.host, port)
			if got := portHolder(addr); got != tt.want {
				t.Errorf("%s: got %q, want %q", addr, got, tt.want)
			}
			l.Close()
			if got := portHolder(addr); got != "" {
				t.Errorf("%s: got %q after the listener was closed", addr, got)
			}
		})
	}
}

func TestPortHolderOfAnEstablishedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := portHolder(conn.LocalAddr().String()); got != "" {
		t.Errorf("got %q for a port on which nothing listens", got)
	}
}

func TestPortHolderUnknown(t *testing.T) {
	for _, addr := range []string{"", "unix:/run/lb.sock", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:port"} {
		if got := portHolder(addr); got != "" {
			t.Errorf("%q: got %q, want nothing", addr, got)
		}
	}
}

// A process of another user shows in the table, but not which one it is.
func TestPortHolderOfAnotherUser(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	table := header + "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4242 1\n"
	if err := os.WriteFile(filepath.Join(proc, "net/tcp"), []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := portHolderIn(proc, ":8080"), "held by a process of user id 101"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := portHolderIn(proc, ":8081"); got != "" {
		t.Errorf("got %q for a free port", got)
	}
}
