package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestWatchFindsTheFile changes what the path leads to in other places than the file and its
// folder. After each change, one in the file must be seen too.
func TestWatchFindsTheFile(t *testing.T) {
	base := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{base}, names...)...) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, release := range []string{"1", "2"} {
		do(os.MkdirAll(at("releases", release), 0o700))
		do(os.WriteFile(at("releases", release, "lb.yaml"), []byte(release), 0o600))
	}
	do(os.Symlink(filepath.Join("releases", "1"), at("current")))
	path := at("current", "lb.yaml")

	ctx, cancel := context.WithCancel(t.Context())
	saved, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		watchFile(ctx, path, []byte("before"), zerolog.Nop(), saved)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	seen := func(what string) {
		t.Helper()
		select {
		case <-saved:
		case <-time.After(deadline):
			t.Fatalf("not seen: %s", what)
		}
	}
	seen("a change before the watch began")
	do(os.Symlink(filepath.Join("releases", "2"), at("new")))
	do(os.Rename(at("new"), at("current")))
	seen("a link to the folder that leads elsewhere")
	do(os.WriteFile(path, []byte("3"), 0o600))
	seen("a file below the link's new target")
	do(os.Rename(at("releases", "2"), at("releases", "old")))
	seen("a folder that is gone")
	do(os.MkdirAll(at("releases", "2"), 0o700))
	do(os.WriteFile(path, []byte("4"), 0o600))
	seen("a folder that has come")
	do(os.WriteFile(path, []byte("5"), 0o600))
	seen("a file in it")
	do(os.WriteFile(at("releases", "2", "other.yaml"), nil, 0o600))
	select {
	case <-saved:
		t.Error("another file counts as the config")
	case <-time.After(2 * watchPause):
	}
}
