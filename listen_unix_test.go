//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/listen"
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
			c, _, err := loadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Umask(syscall.Umask(test.umask))
			front, err := listen.Open("server.listen", c.Server.Listen, c.Server.UnixMode, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer front.Close()
			back, err := c.Management.Open(zerolog.Nop())
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
	for text, want := range map[string]listen.Mode{
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
