//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/proxy"
)

// permissions are those of the file at the path.
func permissions(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// TestUnixMode has both listeners' sockets get their modes, whatever the umask.
func TestUnixMode(t *testing.T) {
	for _, test := range []struct {
		key   string
		want  fs.FileMode
		umask int
	}{
		{"", 0o666, 0o022}, {"", 0o666, 0o077}, {"  unix_mode: \"0660\"\n", 0o660, 0o022}, {"  unix_mode: 0600\n", 0o600, 0}, {"  unix_mode: 777\n", 0o777, 0o777},
	} {
		func() {
			dir := socketDir(t)
			config := testConfig(t, freeAddresses(t, 1), fmt.Sprintf("server:\n  listen: unix:%s/a\n%smanagement:\n  listen: unix:%s/b\n", dir, test.key, dir))
			path := writeConfig(t, config)
			leaveSocket(t, dir+"/a")
			c, err := loadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Umask(syscall.Umask(test.umask))
			front, err := listen("server.listen", c.Server.Listen, c.Server.UnixMode, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer front.Close()
			back, err := c.Management.open(zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			if got := permissions(t, dir+"/a"); got != test.want {
				t.Errorf("%q, umask %#o: server.listen has %#o, want %#o", test.key, test.umask, got, test.want)
			}
			if got := permissions(t, dir+"/b"); got != 0o600 {
				t.Errorf("umask %#o: management.listen has %#o, want 0600", test.umask, got)
			}
		}()
	}
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
	if got := permissions(t, path); got != 0o600 {
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
		{"socket that answers", "another process answers on unix:", func(path string) error {
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
			ln, err := listen("server.listen", "unix:"+path, 0o666, zerolog.Nop())
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

// TestUnixPathTakenSince: a listener that is closed leaves what another process has put in the place
// of its socket.
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
			ln, err := listen("server.listen", "unix:"+path, 0o666, zerolog.Nop())
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
	address := fmt.Sprintf("unix:@lb-test-%d", os.Getpid())
	ln, err := listen("server.listen", address, 0o666, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if second, err := listen("server.listen", address, 0o666, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "another process answers on "+address) {
		t.Errorf("got %v, %v", second, err)
	}
}

// TestRegularFileInThePlaceOfASocket starts the whole balancer.
func TestRegularFileInThePlaceOfASocket(t *testing.T) {
	path := socketDir(t) + "/data"
	if err := os.WriteFile(path, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: unix:"+path+"\n")
	err := run(context.Background(), []string{"--path=" + writeConfig(t, config)}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "server.listen: "+path+" is a regular file") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "text" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestUnixModeValues(t *testing.T) {
	for text, want := range map[string]proxy.UnixMode{
		`"0666"`: 0o666, "0666": 0o666, "666": 0o666, "'660'": 0o660, "0000": 0, "777": 0o777, "${LB_MODE}": 0o640,
	} {
		c, err := parseConfig("lb.yaml", []byte(smallest+"server:\n  unix_mode: "+text+"\n"), environment(map[string]string{"LB_MODE": "0640"}))
		if err != nil || c.Server.UnixMode != want {
			t.Errorf("%s: got %#o, %v, want %#o", text, c.Server.UnixMode, err, want)
		}
	}
	for _, text := range []string{`""`, "66", "00666", "0o666", "888", "1777", "0x1b6", "rw-rw-rw-", "u=rw", "-666", "+666", "6.6", "[666]", "{a: 666}", "true"} {
		if c, err := parseConfig("lb.yaml", []byte(smallest+"server:\n  unix_mode: "+text+"\n"), environment(nil)); err == nil || !strings.Contains(err.Error(), "lb.yaml:3: server.unix_mode: ") {
			t.Errorf("%s: got %#o, %v", text, c.Server.UnixMode, err)
		}
	}
}
