package clients

import (
	"context"
	"sync/atomic"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// lateKeeper is a keeper before it is there: it has no clients and is not loaded. The zero value is
// ready for use.
type lateKeeper struct{ keeper atomic.Pointer[keeper] }

func (l *lateKeeper) use(k keeper) { l.keeper.Store(&k) }

// get returns the keeper, or nil as long as there is none.
func (l *lateKeeper) get() keeper {
	if k := l.keeper.Load(); k != nil {
		return *k
	}
	return nil
}

func (l *lateKeeper) write(ctx context.Context, decide func(store.Tx) error) error {
	if k := l.get(); k != nil {
		return k.write(ctx, decide)
	}
	return errNotLoaded
}

func (l *lateKeeper) audit(ctx context.Context, before int64, limit int) ([]store.Entry, error) {
	if k := l.get(); k != nil {
		return k.audit(ctx, before, limit)
	}
	return nil, errNotLoaded
}

func (l *lateKeeper) run(ctx context.Context) error { return l.get().run(ctx) }

func (l *lateKeeper) state() state {
	if k := l.get(); k != nil {
		return k.state()
	}
	return state{away: true}
}

func (l *lateKeeper) close() error {
	if k := l.get(); k != nil {
		return k.close()
	}
	return nil
}

// Position implements store.Records.
func (l *lateKeeper) Position() store.Position {
	if k := l.get(); k != nil {
		return k.Position()
	}
	return store.Position{}
}

// Client implements store.Records.
func (l *lateKeeper) Client(id limiter.ID) (store.Client, error) {
	if k := l.get(); k != nil {
		return k.Client(id)
	}
	return store.Client{}, errNotLoaded
}

// Clients implements store.Records.
func (l *lateKeeper) Clients(after limiter.ID, limit int) ([]store.Client, error) {
	if k := l.get(); k != nil {
		return k.Clients(after, limit)
	}
	return nil, errNotLoaded
}

// Plan implements store.Records.
func (l *lateKeeper) Plan(name string) (store.Plan, error) {
	if k := l.get(); k != nil {
		return k.Plan(name)
	}
	return store.Plan{}, errNotLoaded
}

// Plans implements store.Records.
func (l *lateKeeper) Plans() ([]store.Plan, error) {
	if k := l.get(); k != nil {
		return k.Plans()
	}
	return nil, errNotLoaded
}
