package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// testCgroup starts it in what looks like a cgroup of version 2 with 256 MiB and two processors,
// which it heeds unless GOMEMLIMIT says otherwise.
func testCgroup(t *testing.T, built programs) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cgroup":                "0::/lb\n",
		"mountinfo":             "30 24 0:26 / " + dir + "/fs rw,relatime - cgroup2 cgroup2 rw\n",
		"fs/cgroup.controllers": "cpu memory\n",
		"fs/lb/memory.max":      "268435456\n",
		"fs/lb/cpu.max":         "200000 100000\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const pretend = `mount --make-rprivate / && mount --bind "$1/mountinfo" /proc/$$/mountinfo && mount --bind "$1/cgroup" /proc/$$/cgroup`
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", pretend, "sh", dir).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted over files of /proc: %v: %s", err, out)
	}
	for _, test := range []struct{ variable, bytes string }{
		{"", "241591910"}, // 90 % of 256 MiB
		{"GOMEMLIMIT=100MiB", "104857600"},
	} {
		command := exec.Command("unshare", "--mount", "sh", "-c", pretend+` && exec "$2" --path="$3"`, "sh", dir, built.lb, writeConfig(t, testConfig(t, freeAddresses(t, 1))))
		command.Env = append(os.Environ(), test.variable)
		p := startJournaled(t, command)
		waitFor(t, "it to serve", func() bool { return p.stdout.find("proxy") != nil })
		metrics := call(t, "GET", "http://"+p.stdout.find("management")["listen"].(string)+"/metrics", "").body
		if !strings.Contains(metrics, "\ngo_memlimit_bytes "+test.bytes+"\n") {
			t.Errorf("%q: the memory limit is not %s:\n%s", test.variable, test.bytes, metrics)
		}
		line := p.stdout.find("the heap keeps within 90 % of the memory limit of the cgroup")
		if told := line != nil; told != (test.variable == "") || told && line["bytes"] != 241591910. {
			t.Errorf("%q: the log has %v", test.variable, line)
		}
		if runtime.NumCPU() < 2 {
			continue
		}
		// Go goes by a quota of two processors at the least, so that this can fail on more alone.
		if !strings.Contains(metrics, "\ngo_gomaxprocs 2\n") {
			t.Errorf("the quota is two processors, but not GOMAXPROCS:\n%s", metrics)
		}
	}
}
