package clients

import (
	"context"

	"loadbalancer/clients/store"
)

// absent is the keeper until the store is opened: it has no clients and takes none.
type absent struct{ *store.Memory }

func (absent) write(context.Context, func(store.Tx) error) error { return errNotLoaded }

func (absent) audit(context.Context, int64, int) ([]store.Entry, error) { return nil, errNotLoaded }

func (absent) start(context.Context) error { return nil }

func (absent) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (absent) state() state { return state{away: true} }

func (absent) close() error { return nil }
