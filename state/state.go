// Package state keeps what outlives a restart and is in no config: what was made once, and what an
// operator has set by hand.
//
// The file is JSON, one object of sections, each of which its owner reads and writes alone, so that
// one version of the balancer keeps the sections that it does not know. It has mode 0600, since
// sections may hold secrets. A change is written to a new file that takes the old one's place: a
// crash leaves one or the other.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// version is that of the file's form. A file of another one is refused: what it says is not known.
const version = 1

// maxSize bounds the file, in bytes.
const maxSize = 16 << 20

// File is the state. Make one with Open. It is safe for concurrent use. Another process that has
// opened the same file does not see what this one writes, and the last to write a section wins.
type File struct {
	path string

	mu       sync.Mutex
	sections map[string]json.RawMessage // guarded by mu
}

// Open reads the file at a path, which need not exist: it is made by the first Set. With "" there is
// no file, and what is set is lost when the process ends. An error says what to do about the file,
// which Open does not change.
func Open(path string) (*File, error) {
	f := &File{path: path, sections: map[string]json.RawMessage{}}
	if err := f.Refresh(); err != nil {
		return nil, err
	}
	return f, nil
}

// Refresh reads the file again, which another process may have written since.
func (f *File) Refresh() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return nil
	}
	sections, err := read(f.path)
	if err != nil {
		return fmt.Errorf("read the state: %w; repair or remove the file, or name another one in server.state", err)
	}
	f.sections = sections
	return nil
}

// Get reads a section into a value, and reports whether there is one.
func (f *File) Get(section string, into any) (found bool, err error) {
	f.mu.Lock()
	text, found := f.sections[section]
	f.mu.Unlock()
	if !found {
		return false, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return false, fmt.Errorf("read the state: %s: the section %s: %w; repair or remove it", f.path, section, err)
	}
	return true, nil
}

// Set writes a section. When it returns without an error, the file has it, and keeps it through a
// crash of the machine. After an error nothing has changed. It takes the other sections from the
// file, where another process may have changed them.
func (f *File) Set(section string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the section %s of the state: %w", section, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		f.sections[section] = text
		return nil
	}
	sections, err := read(f.path)
	if err == nil {
		if len(sections) == 0 { // it was removed
			sections = maps.Clone(f.sections)
		}
		sections[section] = text
		err = write(f.path, sections)
	}
	if err != nil {
		return fmt.Errorf(`write the state: %w; name a file in server.state that can be written, or "" for none`, err)
	}
	f.sections = sections
	return nil
}

// read returns the sections of a file. One that does not exist, or is empty, has none.
func read(path string) (map[string]json.RawMessage, error) {
	sections := map[string]json.RawMessage{}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // a pipe would block, a device be replaced
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sections, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxSize:
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxSize>>20)
	case len(text) == 0:
		return sections, nil
	}
	if err := json.Unmarshal(text, &sections); err != nil || sections == nil {
		return nil, fmt.Errorf("%s is no JSON object", path)
	}
	var of int
	if err := json.Unmarshal(sections["version"], &of); err != nil || of != version {
		return nil, fmt.Errorf("%s has the version %s, and this program knows version %d alone", path, sections["version"], version)
	}
	delete(sections, "version")
	return sections, nil
}

// write replaces a file.
func write(path string, sections map[string]json.RawMessage) error {
	all := map[string]any{"version": version}
	for name, text := range sections {
		all[name] = text
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, filepath.Base(path)+".new-*") // has mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncFolder(folder)
}

// syncFolder makes a rename in the folder last. Some file systems have no such thing.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
