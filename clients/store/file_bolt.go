package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrDamaged means that a file is not as it was written.
var ErrDamaged = errors.New("the file is damaged")

// damageError is an ErrDamaged that names the file and what to do.
type damageError struct {
	what   string // such as "client store"
	path   string
	remedy string
	cause  any
}

func (e *damageError) Error() string {
	return fmt.Sprintf("the %s %s is damaged: %v: %s", e.what, e.path, e.cause, e.remedy)
}

func (e *damageError) Is(target error) bool { return target == ErrDamaged }

// heldError means that another process has the file.
type heldError struct{ holder, path string }

func (e *heldError) Error() string { return fmt.Sprintf("%s holds the file %s", e.holder, e.path) }

// lockWait is how long a start waits for a file: a process that is ending closes it a moment after
// it was told to.
const lockWait = 5 * time.Second

// boltFile is an open bbolt file whose damage becomes an error, also where another process cuts it
// while it is mapped. It is locked against other processes.
type boltFile struct {
	what, path, remedy string
	patience           time.Duration // with another process that has the file, when it is opened

	db     *bbolt.DB
	file   *os.File     // the db's
	size   atomic.Int64 // of the file, at least; it never shrinks
	damage atomic.Pointer[damageError]
	failed chan error // gets the damage
}

// open opens an existing file once check accepts it, which may read it but not keep it. The file is
// locked before.
func (f *boltFile) open(check func(file *os.File) error) error {
	f.failed = make(chan error, 1)
	return f.start(func(string, int, os.FileMode) (*os.File, error) {
		file, err := lockFile(f.path, f.patience)
		if err != nil {
			return nil, err
		}
		if err := check(file); err != nil {
			_ = file.Close() // the first error is the one to return
			return nil, err
		}
		return file, nil
	})
}

// create makes a new file beside the path: rename puts it in place. What was left there by a
// process that died is overwritten.
func (f *boltFile) create() error {
	f.failed = make(chan error, 1)
	return f.start(func(string, int, os.FileMode) (*os.File, error) {
		file, err := os.OpenFile(f.path+newSuffix, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = flock(file, lockWait)
		if err == nil {
			err = errors.Join(file.Truncate(0), file.Chmod(0o600))
		}
		if err != nil {
			_ = file.Close() // as above
			return nil, fmt.Errorf("%s%s: %w", f.path, newSuffix, err)
		}
		return file, nil
	})
}

// newSuffix is that of a file in the making.
const newSuffix = ".new"

func (f *boltFile) start(openFile func(string, int, os.FileMode) (*os.File, error)) error {
	err := f.guard(func() (err error) {
		f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
			Timeout:      lockWait,
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
				file, err := openFile(path, flag, mode)
				f.file = file
				return file, err
			},
		})
		return err
	})
	if err != nil && f.file != nil {
		_ = f.file.Close() // bbolt has closed it, unless it panicked
	}
	return err
}

// lockFile opens a file and locks it. It waits for another process to close it.
func lockFile(path string, patience time.Duration) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = flock(file, patience)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &heldError{holder: fileHolder(path), path: path}
		}
		var info, now fs.FileInfo
		if err == nil {
			info, err = file.Stat()
		}
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no file", path)
		}
		if err == nil {
			now, err = os.Stat(path)
		}
		if err != nil {
			_ = file.Close() // as above
			return nil, err
		}
		if os.SameFile(info, now) {
			return file, nil
		}
		_ = file.Close() // another has taken its place since: that one is meant
	}
}

func flock(file *os.File, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// guard calls do, which may touch the file. A fault or an error that means damage becomes the
// damage of the file, and so do panics of bbolt, which has them for what it cannot make sense of.
func (f *boltFile) guard(do func() error) (err error) {
	if damage := f.damage.Load(); damage != nil {
		return damage
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = f.damaged(cause)
		}
	}()
	if err := f.whole(); err != nil {
		return f.damaged(err)
	}
	err = do()
	if err := f.whole(); err != nil { // what was read may be of pages that were gone
		return f.damaged(err)
	}
	switch {
	case errors.Is(err, errRecord) || errors.As(err, new(structureError)):
		return f.damaged(err)
	case errors.Is(err, bbolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	}
	return err
}

// whole returns an error if the file is shorter than it was. To see it first is better than to fault
// at a page that is gone: bbolt would keep its locks.
func (f *boltFile) whole() error {
	if f.db == nil {
		return nil // not open yet
	}
	known := f.size.Load() // before the file is asked: it may grow in between
	info, err := f.file.Stat()
	if err != nil {
		return nil // closed: bbolt says so
	}
	if info.Size() < known {
		return fmt.Errorf("it has been cut to %d bytes", info.Size())
	} else if info.Size() > known {
		f.size.CompareAndSwap(known, info.Size())
	}
	return nil
}

func (f *boltFile) damaged(cause any) error {
	damage := &damageError{f.what, f.path, f.remedy, cause}
	if f.damage.CompareAndSwap(nil, damage) {
		f.failed <- damage
	}
	return f.damage.Load()
}

func (f *boltFile) view(read func(*bbolt.Tx) error) error {
	return f.guard(func() error {
		tx, err := f.beginRead()
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it fails for a transaction that has ended
		return read(tx)
	})
}

// beginRead releases the two locks that bbolt holds while it reads the metas, if they are gone: all
// other calls would wait for them forever. bbolt has no other way to get at them.
func (f *boltFile) beginRead() (*bbolt.Tx, error) {
	defer func() {
		if cause := recover(); cause != nil {
			db := reflect.ValueOf(f.db).Elem()
			(*sync.RWMutex)(unsafe.Pointer(db.FieldByName("mmaplock").UnsafeAddr())).RUnlock()
			(*sync.Mutex)(unsafe.Pointer(db.FieldByName("metalock").UnsafeAddr())).Unlock()
			panic(cause) // for guard
		}
	}()
	return f.db.Begin(false)
}

func (f *boltFile) update(write func(*bbolt.Tx) error) error {
	return f.guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			if err := write(tx); err != nil {
				return err
			}
			return f.mayCommit()
		})
	})
}

// mayCommit returns an error if the metas or the list of free pages are not as they were written. A
// commit frees as many pages as the list says of itself, and would fill the memory with billions.
func (f *boltFile) mayCommit() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	pages, err := openPages(f.file, info.Size())
	if err != nil {
		return err
	}
	return pages.free()
}

// close releases the file. A damaged one stays mapped: bbolt may wait for a lock that it left
// locked.
func (f *boltFile) close() error {
	if f.damage.Load() != nil {
		return f.file.Close()
	}
	return f.guard(func() error { return f.db.Close() })
}

// rename puts a created file in place, which it survives a crash in.
func (f *boltFile) rename() error {
	if err := os.Rename(f.path+newSuffix, f.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
