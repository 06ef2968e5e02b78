package clients

import (
	"context"
	"sync"
	"time"

	"loadbalancer/clients/store"
)

// keeper keeps the clients and has the limiter enforce them. Its records are what this instance
// enforces. It is safe for concurrent use.
type keeper interface {
	store.Records
	// write runs decide in a transaction of the store, as store.Store.Write does. When it returns
	// without an error, this instance enforces what was written.
	write(ctx context.Context, decide func(store.Tx) error) error
	audit(ctx context.Context, before int64, limit int) ([]store.Entry, error)

	// start returns once this instance may serve, or an error that ends the process.
	start(ctx context.Context) error
	// run works until ctx ends. It returns an error if the store has failed for good.
	run(ctx context.Context) error
	// state may be asked before start has returned.
	state() state
	close() error
}

// state is how a keeper does.
type state struct {
	loaded bool          // the records are those of the store, though perhaps old ones
	away   bool          // the store does not answer
	stale  time.Duration // since it last answered, if it is away
}

// local is the keeper of a store in this process, which nothing else writes.
type local struct {
	localStore
	enforcer *enforcer
	failed   <-chan error // the store is damaged; nil where it cannot be

	// writing is held for a write until it is enforced, so that writes are enforced in order.
	writing sync.Mutex
}

// localStore is a store that is its own records.
type localStore interface {
	store.Store
	store.Records
}

func (l *local) write(ctx context.Context, decide func(store.Tx) error) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	changes, err := l.localStore.Write(ctx, decide)
	if err != nil {
		return err
	}
	return l.enforcer.apply(changes, l.localStore)
}

func (l *local) audit(ctx context.Context, before int64, limit int) ([]store.Entry, error) {
	return l.localStore.Audit(ctx, before, limit)
}

func (l *local) start(context.Context) error { return l.enforcer.enforceAll(l.localStore) }

func (l *local) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error
	var all sync.WaitGroup
	all.Go(func() { _ = l.enforcer.run(ctx, l.localStore) }) // its error is that of the store, too
	all.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case failure = <-l.failed:
		}
	})
	all.Wait()
	return failure
}

func (l *local) state() state { return state{loaded: true} }

func (l *local) close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.localStore.Close()
}
