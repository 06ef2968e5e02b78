package main

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"testing"
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
