package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of some MiB, which only root may.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<16); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// TestFileOnAFullDisk has a write fail, and the store live on.
func TestFileOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "8m")
	path := filepath.Join(dir, "clients.db")
	f := openTestFile(t, path)
	put(t, f, testClients(300)...)
	free := fill(t, dir)
	failed := 0
	for i := range 20 {
		_, err := f.Write(t.Context(), func(tx Tx) error { return tx.Put(testClients(300 + i*100)) })
		if errors.Is(err, syscall.ENOSPC) {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("no write failed")
	}
	written := f.Position().Version
	if got, err := all(t, f); err != nil || len(got) < 300 {
		t.Errorf("%d clients, %v", len(got), err)
	}
	free()
	put(t, f, testClients(900)...)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openTestFile(t, path)
	if got, err := all(t, f); err != nil || len(got) != 900 || f.Position().Version != written+1 {
		t.Errorf("%d clients at %v, %v", len(got), f.Position(), err)
	}
}

// TestCopyOnAFullDisk builds and changes a copy whose snapshot cannot be written, until it can.
func TestCopyOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "2m")
	path := filepath.Join(dir, "clients.snapshot")
	c := openTestCopy(t, path)
	free := fill(t, dir)
	stop, failed := run(t, c)
	build(t, c, Position{"h", 1}, []Plan{{Name: "gold"}}, testClients(3000)...)
	select {
	case err := <-failed:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not told")
	}
	c.Apply(Changes{Position: Position{"h", 2}, Clients: testClients(3001)[3000:]})
	time.Sleep(flushInterval)
	if got, err := all(t, c); err != nil || len(got) != 3001 || len(failed) > 0 {
		t.Errorf("%d clients, %v; told %d times", len(got), err, len(failed))
	}
	free()
	for deadline := time.Now().Add(20 * time.Second); c.now.Load().file == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it was not written")
		}
	}
	stop()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openTestCopy(t, path)
	plans, err := c.Plans()
	if got, readErr := all(t, c); readErr != nil || len(got) != 3001 || c.Position().Version != 2 || len(plans) != 1 || err != nil {
		t.Errorf("%d clients at %v, %d plans, %v", len(got), c.Position(), len(plans), errors.Join(err, readErr))
	}
}
