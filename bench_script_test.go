//go:build unix

package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docs/bench.sh fails where another process listens: it does not talk to that process, and does not
// change the picture.
func TestBenchScriptLeavesOthersAlone(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	picture := readFile(t, "docs/bench.png")
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("docs/bench.sh", other.Addr().String())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err == nil {
		t.Error("it succeeded")
	}
	if want := "server.listen: " + other.Addr().String() + " is "; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr is %q, want %q in it", &stderr, want)
	}
	if readFile(t, "docs/bench.png") != picture {
		t.Error("the picture has changed")
	}
	mine, err := net.Dial("tcp", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	first, err := other.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != mine.LocalAddr().String() {
		t.Error("it has connected to the other process")
	}
}

// A signal ends docs/bench.sh with all that it has started: a load that went on would meet whatever
// listens on the port of its balancer next.
func TestBenchScriptEndsWithItsLoad(t *testing.T) {
	temp, picture := t.TempDir(), readFile(t, "docs/bench.png")
	var output bytes.Buffer
	cmd := exec.Command("docs/bench.sh")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serves := func() bool {
		logs, _ := filepath.Glob(filepath.Join(temp, "*", "lb.log"))
		return len(logs) == 1 && strings.Contains(readFile(t, logs[0]), `"message":"proxy"`)
	}
	for end := time.Now().Add(2 * time.Minute); !serves(); time.Sleep(10 * time.Millisecond) { // it builds first
		if time.Now().After(end) {
			t.Fatalf("waited in vain for the balancer: %s", &output)
		}
	}
	time.Sleep(300 * time.Millisecond) // for the load to begin; the test holds before that too
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("it ended with %v: %s", err, &output)
	}
	if err := syscall.Kill(-cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("processes that it has started live on: %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
	if readFile(t, "docs/bench.png") != picture {
		t.Error("the picture has changed")
	}
}

// A script that has no curl says so, in place of waiting for an answer.
func TestScriptsNeedCurl(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{"bash", "dirname"} {
		at, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(at, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, script := range []string{"docs/bench.sh", "docs/measure.sh"} {
		cmd := exec.Command(filepath.Join(path, "bash"), script)
		cmd.Env = []string{"PATH=" + path}
		got, err := cmd.CombinedOutput()
		if want := script + ": curl is needed\n"; err == nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
