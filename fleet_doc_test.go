package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"loadbalancer/limiter/shared/redistest"
)

const fleetDoc = "docs/fleet.md"

// testFleetPage runs the first commands of the page, with addresses of its own: of a bucket of 100
// tokens, two instances let through 100 requests and a credit.
func testFleetPage(t *testing.T, built programs) {
	redistest.Start(t, redistest.Options{}) // skips where there is no server
	dir, at := t.TempDir(), freeAddresses(t, 7)
	if err := os.Symlink(built.lb, filepath.Join(dir, "lb")); err != nil {
		t.Fatal(err)
	}
	ports := make([]string, len(at))
	for i, address := range at {
		_, ports[i], _ = net.SplitHostPort(address)
	}
	own := strings.NewReplacer("8080", ports[0], "8081", ports[1], "8090", ports[2], "8091", ports[3], "6379", ports[4],
		"80{8,9}0", "{"+ports[0]+","+ports[2]+"}", "8100", ports[5], "8101", ports[6],
		"go build -o lb . && ", "", "redis-server --port", tool(t, "redis-server")+" --bind 127.0.0.1 --port")
	config := own.Replace(readFile(t, "config.yaml"))
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := own.Replace(strings.Join(blocksOf(t, fleetDoc)[0].lines, "\n"))
	shell := exec.CommandContext(t.Context(), "bash", "-m", "-c", commands+"\nwait")
	shell.Dir, shell.WaitDelay = dir, 10*time.Second
	out, err := shell.CombinedOutput()
	passed := regexp.MustCompile(`(?m)^ *(\d+) 200$`).FindSubmatch(out)
	if passed == nil {
		t.Fatalf("%v\n%s\n%s", err, commands, out)
	}
	t.Logf("%s", out)
	if n, _ := strconv.Atoi(string(passed[1])); n < 100 || n > 112 {
		t.Errorf("%d requests were let through, want 100 and at most 12 more:\n%s", n, out)
	}
}

// TestFleetPage checks what the page names.
func TestFleetPage(t *testing.T) {
	for _, b := range blocksOf(t, fleetDoc)[1:] {
		for _, line := range b.lines {
			line, _, _ = strings.Cut(line, " #")
			if line, ok := strings.CutPrefix(line, "go run ./docs/"); ok {
				requireExists(t, "docs/"+strings.Fields(line)[0])
			}
		}
	}
	urls := regexp.MustCompile("`((?:rediss?|unix)://[^`…]+)`").FindAllStringSubmatch(readFile(t, fleetDoc), -1)
	for _, u := range urls {
		config := smallest + "limiter:\n  share: " + strings.Replace(u[1], "?ca=/etc/lb/ca.pem", "", 1) + "\n"
		if _, err := parseConfig(fleetDoc, []byte(config), environment(nil)); err != nil {
			t.Errorf("%s: %v", u[1], err)
		}
	}
	if len(urls) < 5 {
		t.Errorf("%s has lost URLs: %d are left", fleetDoc, len(urls))
	}
}
