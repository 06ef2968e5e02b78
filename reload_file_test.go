package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestReloadOfOddFiles has something at the path that cannot be read, or not in bounded time and
// memory: the reload says so, and the next one of a good file succeeds.
func TestReloadOfOddFiles(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)))
	good, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		put  func() error
		want string
	}{
		{"nothing", func() error { return nil }, "no such file"},
		{"a folder", func() error { return os.Mkdir(in.path, 0o700) }, "is no regular file"},
		{"a pipe without a writer", func() error { return syscall.Mkfifo(in.path, 0o600) }, "is no regular file"},
		{"a link to itself", func() error { return os.Symlink(in.path, in.path) }, "too many levels"},
		{"a huge file", func() error { return os.WriteFile(in.path, append(good, make([]byte, 100<<20)...), 0o600) }, "is larger than 4 MiB"},
		{"an empty file", func() error { return os.WriteFile(in.path, nil, 0o600) }, "the file is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.Remove(in.path); err != nil && test.name != "a folder" {
				t.Fatal(err)
			}
			if err := test.put(); err != nil {
				t.Fatal(err)
			}
			if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, test.want) {
				t.Errorf("got %+v, want %q in it", a, test.want)
			}
			if test.name == "nothing" {
				return
			}
			if err := os.Remove(in.path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(in.path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := in.reload(t); len(got) != 0 {
				t.Errorf("the file as it was changes %q", got)
			}
		})
	}
}

// TestReloadOfTheSameBytes asks for reloads of a file that is as it was, in each way: none counts,
// but for the one after a reload that failed, which makes good for it.
func TestReloadOfTheSameBytes(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 1)), "--watch")
	good, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	same := func() int { return strings.Count(in.log.String(), "the config file is as it was") }
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(in.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ways := []struct {
		name string
		ask  func()
	}{
		{"saved", func() { save(string(good)) }},
		{"the API", func() { in.reload(t) }},
		{"SIGHUP", func() {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, way := range ways {
		before := same()
		way.ask()
		waitFor(t, way.name, func() bool { return same() > before })
	}
	if total := metricOf(t, in, "lb_config_reloads_total"); total != "0" || strings.Contains(in.log.String(), "was reloaded") {
		t.Errorf("%s reloads of the same bytes count: %s", total, in.log)
	}
	save("pools: []")
	waitFor(t, "the failure", func() bool { return metricOf(t, in, "lb_config_last_reload_success") == "0" })
	save(string(good))
	waitFor(t, "the success", func() bool { return metricOf(t, in, "lb_config_last_reload_success") == "1" })
	if total := metricOf(t, in, "lb_config_reloads_total"); total != "2" {
		t.Errorf("%s reloads count, want the one that failed and the one that made good for it", total)
	}
}

// testHangupAtStart sends SIGHUP to a process that has read the file and still waits for its port:
// it serves by what the file says in the end.
func testHangupAtStart(t *testing.T, built programs) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: "+held.Addr().String()+"\n")
	path := writeConfig(t, config)
	p := startProcess(t, built.lb, "--path="+path)
	waitFor(t, "it to wait", func() bool { return p.stdout.find("waiting for a port that another process holds") != nil })
	if err := os.WriteFile(path, []byte(strings.Replace(config, "server:\n", "server:\n  via: later\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	held.Close()
	waitFor(t, "the reload", func() bool { return strings.Contains(p.stdout.String(), "→ later") })
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
}

// testReloadWhileItEnds asks for a reload while a process that was told to end still serves.
func testReloadWhileItEnds(t *testing.T, built programs) {
	config := testConfig(t, freeAddresses(t, 1), "server:\n  listen: 127.0.0.1:0\n  shutdown_delay: 1h\n")
	p, _ := startLB(t, built, config)
	api := "http://" + p.stdout.find("management")["listen"].(string)
	p.signal(t, syscall.SIGTERM)
	waitFor(t, "/readyz to say no", func() bool { return call(t, "GET", api+"/readyz", "").status == 503 })
	waitFor(t, "reloads to end", func() bool {
		a := call(t, "POST", api+"/v1/api/reload", "")
		return a.status == 503 && strings.Contains(a.body, "shutting down")
	})
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 1, "a second signal")
}
