package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
)

// watchPause is the time without a change after which the file counts as saved: an editor or a copy
// may write it in several steps.
const watchPause = 500 * time.Millisecond

// watchFile sends on saved each time the file at path may have another content, until ctx ends. It
// watches folders and not the file: editors replace a file by renaming another, and Kubernetes
// swaps a link in the path to it. Where the system cannot watch, a warning says so.
func watchFile(ctx context.Context, path string, log zerolog.Logger, saved chan<- struct{}) {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watchFolders(watcher, path)
	}
	if err != nil {
		log.Warn().Err(err).Str("config", path).
			Msg("--watch: the config file cannot be watched; send SIGHUP to reload it")
		return
	}
	quiet := time.NewTimer(watchPause)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.Events:
			if !open {
				return
			}
			if mayConcern(event.Name, path) {
				quiet.Reset(watchPause)
			}
		case err, open := <-watcher.Errors:
			if !open {
				return
			}
			log.Warn().Err(err).Str("config", path).Msg("--watch: some changes may have been missed")
			quiet.Reset(watchPause)
		case <-quiet.C:
			_ = watchFolders(watcher, path) // a link may lead elsewhere now; if nowhere, the reload says so
			select {
			case saved <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// watchFolders watches the folder of the path and, where the path leads over links, that of each
// file it leads to.
func watchFolders(watcher *fsnotify.Watcher, path string) error {
	folders := []string{filepath.Dir(path)}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		folders = append(folders, filepath.Dir(target))
	}
	for _, folder := range folders {
		if err := watcher.Add(folder); err != nil { // a second time does nothing
			return err
		}
	}
	return nil
}

// mayConcern reports whether a change of the named file may change what the path leads to: it is
// the file, or one that it is a link to, or a link. Other files in the folder may change all the
// time.
func mayConcern(name, path string) bool {
	if filepath.Base(name) == filepath.Base(path) {
		return true
	}
	if target, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(name) == filepath.Base(target) {
		return true
	}
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
