package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"loadbalancer/limiter"
)

// File keeps the clients in a bbolt file, which it locks. A write is synced to the disk before it
// returns. A reader waits for a writer only while the file grows.
//
// The file is looked at as a whole when it is opened. A damage that is found then or later is an
// ErrDamaged, which every call returns from then on.
type File struct {
	bolt   boltFile
	bounds Bounds

	writing  sync.Mutex
	keys     *keyIndex // the writer's
	position atomic.Pointer[Position]
}

var (
	_ Store   = (*File)(nil)
	_ Records = (*File)(nil)
)

const fileRemedy = "restore it from a backup, such as GET /v1/api/export/clients makes, or move it away to begin anew"

// OpenFile opens the file, or makes one with a history of its own. It waits up to 5 s for another
// process to close it. Files of older versions are converted.
func OpenFile(path string, bounds Bounds) (*File, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createFile(path); err != nil {
			return nil, fmt.Errorf("create the client store: %w", err)
		}
	}
	f := &File{bolt: boltFile{what: "client store", path: path, remedy: fileRemedy, patience: lockWait}, bounds: bounds}
	var found contents
	err := f.bolt.open(func(file *os.File) (err error) {
		found, err = checkFile(file, storeKind)
		return err
	})
	if err != nil {
		return nil, f.openError(err)
	}
	if found.old {
		convert := func(tx *bbolt.Tx) error { return convert(tx, found.keys) }
		if err := f.bolt.update(convert); err != nil {
			_ = f.bolt.close() // the first error is the one to return
			return nil, f.openError(err)
		}
	}
	f.keys = found.keys
	return f, f.refresh()
}

func (f *File) openError(err error) error {
	var held *heldError
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.As(err, &held):
		return fmt.Errorf("open the client store: %w: end it, or give this one a file of its own in clients.store", err)
	}
	return fmt.Errorf("open the client store %s: %w", f.bolt.path, err)
}

// createFile makes a store without clients. The name is there once all of it is.
func createFile(path string) error {
	made := boltFile{what: "client store", path: path, remedy: fileRemedy}
	if err := made.create(); err != nil {
		return err
	}
	err := made.update(func(tx *bbolt.Tx) error {
		return setUp(tx, &fileState{kind: storeKind, Position: Position{History: rand.Text()}})
	})
	if err == nil {
		err = os.Link(path+newSuffix, path)
		if errors.Is(err, fs.ErrExist) {
			err = nil // of another process
		} else if err != nil { // the file system may have no links
			err = os.Rename(path+newSuffix, path)
		}
	}
	_ = os.Remove(path + newSuffix) // it is renamed, or a second name, or of no use
	return errors.Join(err, made.close(), syncDir(filepath.Dir(path)))
}

// refresh takes the position from the file.
func (f *File) refresh() error {
	return f.bolt.view(func(tx *bbolt.Tx) error {
		state, err := stateOf(tx)
		if err == nil {
			f.position.Store(&state.Position)
		}
		return err
	})
}

// Failed returns the channel that gets the damage of the file, once.
func (f *File) Failed() <-chan error { return f.bolt.failed }

// Write implements Store. It returns ErrUnknown if the last sync fails.
func (f *File) Write(ctx context.Context, decide func(Tx) error) (Changes, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return Changes{}, err
	}
	tx := &fileTx{bolt: &f.bolt, bounds: f.bounds, keys: f.keys, given: map[keyPrefix]string{}}
	if err := tx.begin(); err != nil {
		return Changes{}, err
	}
	defer tx.rollback() // nothing once it is committed
	if err := decide(tx); err != nil {
		return Changes{}, err
	}
	if err := tx.commit(); err != nil {
		tx.rollback()
		return Changes{}, f.outcome(err, tx)
	}
	tx.index()
	f.position.Store(&tx.state.Position)
	tx.changes.Position = tx.state.Position
	return tx.changes, nil
}

// outcome returns the error of a commit: the file may have it all the same, and only the disk not.
func (f *File) outcome(err error, tx *fileTx) error {
	read := f.refresh()
	if read == nil && f.Position() != tx.state.Position {
		return fmt.Errorf("write the client store %s: %w", f.bolt.path, err)
	}
	if errors.Is(read, ErrDamaged) {
		err = read
	}
	tx.index()
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// Audit implements Store.
func (f *File) Audit(_ context.Context, before int64, limit int) (page []Entry, err error) {
	err = f.bolt.view(func(tx *bbolt.Tx) error {
		bucket, err := bucketOf(tx, auditBucket)
		if err != nil {
			return err
		}
		cursor := bucket.Cursor()
		key, value := cursor.Last()
		if before != 0 {
			if at, _ := cursor.Seek(entryKey(before)); at != nil {
				key, value = cursor.Prev()
			} else {
				key, value = cursor.Last()
			}
		}
		for ; key != nil && len(page) < limit; key, value = cursor.Prev() {
			payload, err := unseal(auditBucket, key, value)
			if err != nil || len(key) != 8 {
				return errRecord
			}
			e, err := readEntry(int64(binary.BigEndian.Uint64(key)), payload)
			if err != nil {
				return err
			}
			page = append(page, e)
		}
		return nil
	})
	return page, err
}

// Position implements Records.
func (f *File) Position() Position { return *f.position.Load() }

// Client implements Records.
func (f *File) Client(id limiter.ID) (c Client, err error) {
	err = f.bolt.view(func(tx *bbolt.Tx) (err error) {
		c, err = clientIn(tx, id)
		return err
	})
	return c, err
}

// Clients implements Records.
func (f *File) Clients(after limiter.ID, limit int) ([]Client, error) {
	return f.AppendClients(nil, after, limit)
}

// AppendClients implements Records.
func (f *File) AppendClients(page []Client, after limiter.ID, limit int) ([]Client, error) {
	err := f.bolt.view(func(tx *bbolt.Tx) (err error) {
		page, err = appendPage(page, tx, after, limit)
		return err
	})
	return page, err
}

// Plan implements Records.
func (f *File) Plan(name string) (p Plan, err error) {
	err = f.bolt.view(func(tx *bbolt.Tx) (err error) {
		p, err = planIn(tx, name)
		return err
	})
	return p, err
}

// Plans implements Records.
func (f *File) Plans() (all []Plan, err error) {
	err = f.bolt.view(func(tx *bbolt.Tx) (err error) {
		all, err = plansIn(tx)
		return err
	})
	return all, err
}

// Close releases the file, once no call reads or writes it.
func (f *File) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.bolt.close()
}
