package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// testWatchWithoutInotify starts it where no inotify instance is to be had: a warning says so, and
// SIGHUP still reloads the file.
func testWatchWithoutInotify(t *testing.T, built programs) {
	const none = "echo 0 >/proc/sys/user/max_inotify_instances"
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", none).CombinedOutput(); err != nil {
		t.Skipf("no namespace with a limit of its own: %v: %s", err, out)
	}
	config := testConfig(t, freeAddresses(t, 1))
	path := writeConfig(t, config)
	p := startProcess(t, "unshare", "--user", "--map-root-user", "sh", "-c", none+` && exec "$0" "$@"`, built.lb, "--path="+path, "--watch")
	const warning = "--watch: the config file cannot be watched; send SIGHUP to reload it"
	waitFor(t, "the warning", func() bool { return p.stdout.find(warning) != nil && p.stdout.find("proxy") != nil })
	if line := p.stdout.find(warning); line["level"] != "warn" || line["config"] != path || line["error"] == nil {
		t.Errorf("the log has %v", line)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(config, "server:\n", "server:\n  via: later\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	waitFor(t, "the reload", func() bool { return strings.Contains(p.stdout.String(), "→ later") })
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
}
