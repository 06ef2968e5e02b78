package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
)

// watchPause is the time without a change after which the file counts as saved: an editor or a copy
// may write it in several steps.
const watchPause = 500 * time.Millisecond

// watchFile sends on saved each time the file at path may have another content than text or than it
// had before, until ctx ends. It watches folders and not the file: editors replace a file by
// renaming another, and Kubernetes swaps a link in the path to it. Where the system cannot watch, a
// warning says so.
func watchFile(ctx context.Context, path string, text []byte, log zerolog.Logger, saved chan<- struct{}) {
	watcher, err := fsnotify.NewWatcher()
	var on way
	if err == nil {
		defer watcher.Close()
		err = checkRegular(path)
	}
	if err == nil {
		on, err = wayOf(path)
	}
	if err == nil {
		err = on.watch(watcher)
	}
	if err != nil {
		log.Warn().Err(err).Str("config", path).
			Msg("--watch: the config file cannot be watched; send SIGHUP to reload it")
		return
	}
	quiet := time.NewTimer(watchPause)
	if now, err := reread(path); err == nil && bytes.Equal(now, text) {
		quiet.Stop() // else it was saved after it was read
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.Events:
			if !open {
				return
			}
			if on.concerns(event.Name) {
				quiet.Reset(watchPause)
			}
		case err, open := <-watcher.Errors:
			if !open {
				return
			}
			log.Warn().Err(err).Str("config", path).Msg("--watch: some changes may have been missed")
			quiet.Reset(watchPause)
		case <-quiet.C:
			if now, err := wayOf(path); err == nil {
				on = now // a link may lead elsewhere now; if nowhere, the reload says so
				_ = on.watch(watcher)
			}
			select {
			case saved <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// way are the files at which a change may lead a path elsewhere: what it leads to, and each link on
// the way there; where it leads to nothing, the first name that is missing. Their folders are
// without links.
type way []string

// watch watches the folders of the way, and no others.
func (w way) watch(watcher *fsnotify.Watcher) error {
	for _, folder := range watcher.WatchList() {
		if !w.in(folder) {
			_ = watcher.Remove(folder) // fails where the folder is gone
		}
	}
	for _, file := range w {
		if err := watcher.Add(filepath.Dir(file)); err != nil { // a second time does nothing
			return err
		}
	}
	return nil
}

// in reports whether a file of the way is in the folder.
func (w way) in(folder string) bool {
	return slices.ContainsFunc(w, func(file string) bool { return filepath.Dir(file) == folder })
}

// concerns reports whether an event of the named file or folder may change where the path leads.
// Other files in the same folders may change all the time.
func (w way) concerns(name string) bool { return slices.Contains(w, name) || w.in(name) }

// maxLinks is how many links a path may lead over, as for the system.
const maxLinks = 40

// wayOf returns the way of a path.
func wayOf(path string) (w way, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	const separator = string(filepath.Separator)
	left, at := strings.Split(path, separator), separator
	for links := 0; len(left) > 0; {
		next := filepath.Join(at, left[0])
		left = left[1:]
		info, err := os.Lstat(next)
		isLink := err == nil && info.Mode()&fs.ModeSymlink != 0
		if isLink || err != nil || len(left) == 0 {
			w = append(w, next)
		}
		if err != nil {
			break
		}
		if !isLink {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			break
		}
		left = append(strings.Split(target, separator), left...)
		if filepath.IsAbs(target) {
			at = separator
		}
	}
	return w, nil
}
