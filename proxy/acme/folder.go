package acme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
)

// folder keeps what certmagic stores in files of mode 0600 below a folder of mode 0700. Its locks
// are those of the system, which end with their process; certmagic's own are files with a time in
// them, and need a goroutine each that ends later than the lock.
type folder struct {
	certmagic.FileStorage

	mu   sync.Mutex
	held map[string]*os.File
}

// NewFolder returns a storage in a folder, which is made when something is stored. Several processes
// may use it at a time.
func NewFolder(path string) certmagic.Storage {
	return &folder{FileStorage: certmagic.FileStorage{Path: path}, held: map[string]*os.File{}}
}

// lockPause is how often a lock that is held is tried again.
const lockPause = 250 * time.Millisecond

// Lock waits for a lock until ctx ends.
func (f *folder) Lock(ctx context.Context, name string) error {
	return await(ctx, f, name, lockPause)
}

// await tries to take a lock, again and again, until ctx ends.
func await(ctx context.Context, of certmagic.TryLocker, name string, every time.Duration) error {
	for {
		if ok, err := of.TryLock(ctx, name); ok || err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
}

// TryLock takes a lock that is free.
func (f *folder) TryLock(_ context.Context, name string) (bool, error) {
	path := filepath.Join(f.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[name] = file
	return true, nil
}

// Unlock gives a lock back. Its file stays: another process may have opened it.
func (f *folder) Unlock(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, ok := f.held[name]
	if !ok {
		return fmt.Errorf("the lock %s is not held", name)
	}
	delete(f.held, name)
	return file.Close()
}

// pause waits, or returns the cause of the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
