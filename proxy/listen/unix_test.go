//go:build unix

package listen

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// socketDir is a folder whose path leaves room for the name of a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// leaveSocket leaves a socket behind as a killed process does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
}

// A socket is not even for a moment open to more users than its mode says.
func TestUnixModeBeforeTheSocketIsBound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the mode of a socket that is not bound counts on Linux alone")
	}
	path := socketDir(t) + "/a"
	defer syscall.Umask(syscall.Umask(0))
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error { return boundMode(socket, 0o600) }}
	ln, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("got %#o, want 0600", got)
	}
}

// TestUnixPathThatIsTaken wants each kind of file named, and left as it was.
func TestUnixPathThatIsTaken(t *testing.T) {
	for _, test := range []struct {
		name, want string
		make       func(path string) error
	}{
		{"file", "is a regular file", func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) }},
		{"empty file", "is a regular file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"folder", "is a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"pipe", "is a named pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"link to nothing", "is a symbolic link", func(path string) error { return os.Symlink(path+".missing", path) }},
		{"link to a stale socket", "is a symbolic link", func(path string) error {
			leaveSocket(t, path+".stale")
			return os.Symlink(path+".stale", path)
		}},
		{"link to a file", "is a symbolic link", func(path string) error {
			if err := os.WriteFile(path+".file", nil, 0o600); err != nil {
				return err
			}
			return os.Symlink(path+".file", path)
		}},
		{"socket of another type", "may be in use", func(path string) error {
			conn, err := net.ListenPacket("unixgram", path)
			if err == nil {
				t.Cleanup(func() { conn.Close() })
			}
			return err
		}},
		{"socket that answers", " is held by ", func(path string) error {
			ln, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { ln.Close() })
			}
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(socketDir(t), "s")
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := Open("server.listen", Address{"unix:" + path}, 0o666, zerolog.Nop())
			if err == nil {
				ln.Close()
				t.Fatal("the path was taken over")
			}
			if got := err.Error(); !strings.HasPrefix(got, "server.listen: ") || !strings.Contains(got, path) || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want it to say %q", got, test.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || before.Size() != after.Size() {
				t.Errorf("it is not what it was: %v, %v", after, err)
			}
		})
	}
}

// TestUnixPathTakenSince: a listener that is closed leaves what another process has put in the
// place of its socket.
func TestUnixPathTakenSince(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(path string) error
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) }},
		{"link to what was its socket", func(path string) error { return os.Symlink(path+".old", path) }},
		{"socket that answers", func(path string) error {
			ln, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { ln.Close() })
			}
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(socketDir(t), "s")
			ln, err := Open("server.listen", Address{"unix:" + path}, 0o666, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := test.take(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is not what it was: %v, %v", after, err)
			}
		})
	}
}

// A name of the abstract namespace has no file, and so no mode.
func TestAbstractSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone has an abstract namespace")
	}
	address := Address{fmt.Sprintf("unix:@lb-test-%d", os.Getpid())}
	ln, err := Open("server.listen", address, 0o666, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if second, err := Open("server.listen", address, 0o666, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "server.listen: "+address.String()+" is held by ") {
		t.Errorf("got %v, %v", second, err)
	}
}
