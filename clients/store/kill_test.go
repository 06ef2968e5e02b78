package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeAndDieEnv makes this test binary write to the named file and kill itself.
const writeAndDieEnv = "STORE_TEST_WRITE_AND_DIE"

func writeAndDie(path string) {
	f, err := OpenFile(path, testBounds)
	if err == nil {
		_, err = f.Write(context.Background(), func(tx Tx) error { return tx.Put(testClients(7)) })
	}
	if err == nil {
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestFileSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.db")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), writeAndDieEnv+"="+path)
	output, err := child.CombinedOutput()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, output)
	}
	f := openTestFile(t, path)
	if got, err := all(t, f); err != nil || len(got) != 7 {
		t.Errorf("%d clients, %v", len(got), err)
	}
}

// writeForeverEnv makes this test binary write to the named file, or run a copy of that snapshot,
// and print the version of each write that was acknowledged.
const writeForeverEnv = "STORE_TEST_WRITE_FOREVER"

func writeForever(what string) {
	kind, path, _ := strings.Cut(what, ":")
	err := map[string]func(string) error{"file": writeFileForever, "copy": writeCopyForever}[kind](path)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// written returns the clients of a version: ten, the same in each, in that version's state.
func written(version int64) []Client {
	clients := testClients(10)
	for i := range clients {
		clients[i].Own.Capacity = version
	}
	return append(clients, numbered(int(version)+100))
}

func writeFileForever(path string) error {
	f, err := OpenFile(path, testBounds)
	for err == nil {
		var made Changes
		made, err = f.Write(context.Background(), func(tx Tx) error {
			return tx.Put(written(f.Position().Version + 1))
		})
		fmt.Println(made.Version)
	}
	return err
}

func writeCopyForever(path string) error {
	c, err := OpenCopy(path)
	if err != nil {
		return err
	}
	if !c.Loaded() {
		b := c.Build(Position{"h", 0})
		err = b.Commit()
	}
	for err == nil {
		next := c.Position().Version + 1
		c.Apply(Changes{Position: Position{"h", next}, Clients: written(next)})
		err = c.flush()
		fmt.Println(next)
	}
	return err
}

// TestKilledInAWrite kills processes that write all the time. What they have acknowledged is there,
// whole, and at most one write more.
func TestKilledInAWrite(t *testing.T) {
	for _, kind := range []string{"file", "copy"} {
		path := filepath.Join(t.TempDir(), "clients")
		for range 15 {
			acknowledged := killed(t, kind+":"+path, time.Duration(rand.IntN(100))*time.Millisecond)
			var records interface {
				Records
				Close() error
			}
			var err error
			if kind == "file" {
				records, err = OpenFile(path, testBounds)
			} else {
				records, err = OpenCopy(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := records.Position().Version
			if got < acknowledged || got > acknowledged+1 {
				t.Errorf("%s: version %d, and %d was acknowledged", kind, got, acknowledged)
			}
			all, err := all(t, records)
			if err != nil || len(all) != 10+int(got) {
				t.Errorf("%s: %d clients at version %d, %v", kind, len(all), got, err)
			}
			for _, want := range written(got) {
				if one, err := records.Client(want.ID); err != nil || one.Own != want.Own {
					t.Errorf("%s: %v, %v, want %v", kind, one.Own, err, want.Own)
				}
			}
			if err := records.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// killed runs this test binary, kills it some time after its first write, and returns the last
// version that it printed.
func killed(t *testing.T, what string, after time.Duration) (last int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), writeForeverEnv+"="+what)
	output, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if last == 0 {
			time.AfterFunc(after, func() { _ = child.Process.Kill() })
		}
		if n, err := fmt.Sscan(lines.Text(), &last); n != 1 {
			t.Fatal(err)
		}
	}
	err = child.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || last == 0 {
		t.Fatalf("the child was not killed: %v, after version %d", err, last)
	}
	return last
}
