package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testFirstDay(t *testing.T, built programs) { testSection(t, built, "A first day", 10) }

func testBackendsByHand(t *testing.T, built programs) { testSection(t, built, "Backends by hand", 6) }

// testSection runs the commands of a section of docs/operations.md, at addresses of its own, and
// finds in what they print the pieces that stand there, at least so many, in that order.
func testSection(t *testing.T, built programs, title string, pieces int) {
	_, day, _ := strings.Cut(readFile(t, "docs/operations.md"), "\n## "+title+"\n")
	day, _, _ = strings.Cut(day, "\n## ")
	addresses := freeAddresses(t, 4)
	places := strings.NewReplacer("127.0.0.1:8080", addresses[0], "127.0.0.1:8081", addresses[1], "127.0.0.1:8100", addresses[2], "127.0.0.1:8101", addresses[3],
		"server:\n  listen", "management:\n  listen: "+addresses[1]+"\nserver:\n  listen",
		"8100", portOf(addresses[2]), "8101", portOf(addresses[3]), "lb.yaml:6:", "lb.yaml:8:")
	folder := t.TempDir()
	for name, program := range map[string]string{"lb": built.lb, "bench": built.bench} {
		if err := os.Symlink(program, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}

	var script strings.Builder
	var want []string
	for _, block := range regexp.MustCompile("(?s)```(sh|text)\n(.*?)```").FindAllStringSubmatch(day, -1) {
		text := places.Replace(block[2])
		if block[1] == "sh" {
			script.WriteString(text)
			continue
		}
		want = append(want, strings.Split(strings.TrimSpace(text), "\n")...)
	}
	if len(want) < pieces {
		t.Fatalf("only %d lines to expect were found", len(want))
	}
	bounded, cancel := context.WithTimeout(t.Context(), 2*deadline)
	defer cancel()
	sh := exec.CommandContext(bounded, "/bin/sh", "-e")
	sh.Dir, sh.Env = folder, append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	sh.WaitDelay = time.Second // a script that fails leaves its programs behind
	t.Cleanup(func() { _ = syscall.Kill(-sh.Process.Pid, syscall.SIGKILL) })
	sh.Stdin = strings.NewReader(script.String())
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rest := string(out)
	for _, line := range want {
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Fatalf("%q is missing in %q", line, rest)
		}
		rest = after
	}
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }
