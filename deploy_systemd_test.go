package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// settingsOf returns the settings of a unit: for each key what stands behind it, line by line.
func settingsOf(t *testing.T, name string) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	for line := range strings.Lines(readFile(t, name)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

// timeOf returns a time of a unit.
func timeOf(t *testing.T, settings map[string][]string, key string) time.Duration {
	t.Helper()
	if len(settings[key]) != 1 {
		t.Fatalf("the unit has %d lines %s=", len(settings[key]), key)
	}
	d, err := time.ParseDuration(settings[key][0])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const installed = "/usr/local/bin/lb"

func TestSystemdUnit(t *testing.T) {
	unit := settingsOf(t, "deploy/lb.service")
	commands := 0
	for _, line := range slices.Concat(unit["ExecStart"], unit["ExecReload"]) {
		if words := strings.Fields(line); words[0] == installed {
			requireFlags(t, "lb.service", words[1:])
			commands++
		}
	}
	if commands != 2 || !slices.Contains(unit["ExecReload"], "/bin/kill -HUP $MAINPID") {
		t.Errorf("lb is started and reloaded by %q and %q", unit["ExecStart"], unit["ExecReload"])
	}
	c := defaultConfig()
	if stop, needed := timeOf(t, unit, "TimeoutStopSec"), c.Server.ShutdownDelay+c.Server.ShutdownTimeout+5*time.Second; stop < needed {
		t.Errorf("TimeoutStopSec is %s, and an end may take %s", stop, needed)
	}
	if start, needed := timeOf(t, unit, "TimeoutStartSec"), c.Clients.ConnectTimeout+3*takeoverWait; start < needed {
		t.Errorf("TimeoutStartSec is %s, and a start may take %s", start, needed)
	}
	if !slices.Equal(unit["Type"], []string{"notify"}) || timeOf(t, unit, "WatchdogSec") < 10*time.Second {
		t.Errorf("the unit has Type=%s and WatchdogSec=%s", unit["Type"], unit["WatchdogSec"])
	}
	if name := settingsOf(t, "deploy/lb.socket")["FileDescriptorName"]; !slices.Equal(name, []string{"server.listen"}) {
		t.Errorf("lb.socket names its socket %q", name)
	}
}

// systemd itself finds nothing wrong with the units, and little that a service could do beyond
// them.
func TestSystemdVerifiesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	binary, err := os.Executable() // stands in for the one that is not installed here
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lb.service", "lb.socket"} {
		text := strings.ReplaceAll(readFile(t, "deploy/"+name), installed+" ", binary+" ")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"verify", dir + "/lb.service", dir + "/lb.socket"},
		{"security", "--offline=true", "--threshold=20", dir + "/lb.service"},
	} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
