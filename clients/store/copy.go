package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"loadbalancer/limiter"
)

// Copy is what an instance reads of a store elsewhere. It has its content in a file, the snapshot,
// and what has changed since the file was written in memory: about 1 KiB for each client that was.
// With a file the rest takes no memory of its own; without one all of it does. A reader waits for
// neither Apply nor Run.
//
// Where the file cannot be written the content stays in memory until it can.
type Copy struct {
	path string // "": memory alone

	disk     sync.Mutex // held to write the file, and to change it for another; before changing
	changing sync.Mutex // held for each change of now
	now      atomic.Pointer[layers]
	flushing bool
	since    []Changes     // that were applied while flushing
	changed  chan struct{} // has an element if there is something to flush
}

var _ Records = (*Copy)(nil)

const copyRemedy = "it is made anew from the store"

// OpenCopy opens the snapshot in the file. If it is "", if there is none or it is incomplete, the
// Copy is empty. It is usable in any case; an error says why it has nothing of an existing file. A
// file that another process holds, as a predecessor does until it ends, is read as it is now, and
// taken over when it is free.
func OpenCopy(path string) (*Copy, error) {
	c := &Copy{path: path, changed: make(chan struct{}, 1)}
	c.now.Store(newLayers(Position{}))
	if path == "" {
		return c, nil
	}
	file := c.snapshotFile()
	var found contents
	err := file.open(func(f *os.File) (err error) {
		found, err = checkFile(f, snapshotKind)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case errors.As(err, new(*heldError)):
		l, borrowing := borrow(path)
		if borrowing != nil {
			return c, fmt.Errorf("open the snapshot: %w; read it as it is: %w", err, borrowing)
		}
		c.now.Store(l)
		return c, nil
	case errors.Is(err, ErrDamaged):
		return c, err
	case err != nil:
		return c, fmt.Errorf("open the snapshot %s: %w", path, err)
	}
	l := newLayers(found.state.Position)
	l.file, l.loaded = file, true
	c.now.Store(l)
	return c, nil
}

func (c *Copy) snapshotFile() *boltFile {
	return &boltFile{what: "snapshot", path: c.path, remedy: copyRemedy}
}

// Loaded reports whether the copy has a complete content, if an old one.
func (c *Copy) Loaded() bool {
	l := c.now.Load()
	return l != nil && l.loaded && (l.file == nil || l.file.damage.Load() == nil)
}

// Apply stores changes up to a position, in memory alone: it never fails, and never waits for the
// disk.
func (c *Copy) Apply(changes Changes) {
	c.changing.Lock()
	defer c.changing.Unlock()
	now := c.now.Load()
	if now == nil {
		return
	}
	next := now.copy()
	next.apply(changes)
	c.now.Store(next)
	if c.flushing {
		c.since = append(c.since, changes)
	}
	c.wake()
}

// wake has Run write what has changed.
func (c *Copy) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// read calls do with what there is now. do runs again if the file was changed for another.
func (c *Copy) read(do func(*layers) error) error {
	for {
		l := c.now.Load()
		if l == nil {
			return ErrClosed
		}
		if err := do(l); !errors.Is(err, ErrClosed) || c.now.Load() == l {
			return err
		}
	}
}

// Position implements Records. It is zero if the copy is empty.
func (c *Copy) Position() Position {
	if l := c.now.Load(); l != nil {
		return l.position
	}
	return Position{}
}

// Client implements Records.
func (c *Copy) Client(id limiter.ID) (one Client, err error) {
	err = c.read(func(l *layers) (err error) {
		one, err = l.client(id)
		return err
	})
	return one, err
}

// Clients implements Records.
func (c *Copy) Clients(after limiter.ID, limit int) (page []Client, err error) {
	err = c.read(func(l *layers) (err error) {
		page, err = l.page(after, limit)
		return err
	})
	return page, err
}

// AppendClients implements Records.
func (c *Copy) AppendClients(page []Client, after limiter.ID, limit int) (appended []Client, err error) {
	err = c.read(func(l *layers) (err error) {
		appended, err = l.appendPage(page, after, limit)
		return err
	})
	return appended, err
}

// Plan implements Records.
func (c *Copy) Plan(name string) (p Plan, err error) {
	err = c.read(func(l *layers) (err error) {
		p, err = l.plan(name)
		return err
	})
	return p, err
}

// Plans implements Records.
func (c *Copy) Plans() (all []Plan, err error) {
	err = c.read(func(l *layers) (err error) {
		all, err = l.allPlans()
		return err
	})
	return all, err
}

// Close drops the content. What Run has not written is lost.
func (c *Copy) Close() error {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.changing.Lock()
	l := c.now.Swap(nil)
	c.changing.Unlock()
	if l == nil || l.file == nil {
		return nil
	}
	return l.file.close()
}
