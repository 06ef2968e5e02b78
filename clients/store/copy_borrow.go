package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"loadbalancer/limiter"
)

// borrowTries is how often a snapshot is read that another process holds: it may be writing to it.
const borrowTries = 5

// borrow reads a snapshot that another process holds into memory.
func borrow(path string) (l *layers, err error) {
	for range borrowTries {
		if l, err = borrowOnce(path); !errors.Is(err, ErrDamaged) {
			return l, err
		}
	}
	return nil, err
}

// borrowOnce reads a duplicate of the file. It returns ErrDamaged if that was written to while it was
// made.
func borrowOnce(path string) (l *layers, err error) {
	own, err := duplicate(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(own) }()
	file := &boltFile{what: "snapshot", path: own, remedy: copyRemedy}
	var found contents
	err = file.open(func(f *os.File) (err error) {
		found, err = checkFile(f, snapshotKind)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	from := newLayers(found.state.Position)
	from.file = file
	return from.inMemory()
}

// duplicate copies a file to a new one beside it.
func duplicate(path string) (name string, err error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	to, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("copy %s: %w", path, err), os.Remove(to.Name()))
	}
	return to.Name(), nil
}

// inMemory returns the same content without a file.
func (l *layers) inMemory() (*layers, error) {
	all := newLayers(l.position)
	plans, err := l.allPlans()
	if err != nil {
		return nil, err
	}
	c := Changes{Position: l.position, Plans: plans}
	for after := (limiter.ID{}); ; after = c.Clients[len(c.Clients)-1].ID {
		if c.Clients, err = l.page(after, bulkSize); err != nil {
			return nil, err
		}
		all.apply(c)
		if len(c.Clients) < bulkSize {
			break
		}
	}
	all.loaded = true
	return all, nil
}
