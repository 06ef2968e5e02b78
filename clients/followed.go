package clients

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
)

// followed is the keeper of clients in PostgreSQL, which other instances write, too. It reads a copy
// in this process, and brings the changes to the copy and to the limiter. While PostgreSQL is away,
// the copy and the limiter stay as they are.
type followed struct {
	*store.Copy
	truth    *store.Postgres
	enforcer *enforcer
	patience time.Duration // of start, with PostgreSQL
	contact  *contact
	loaded   atomic.Bool // the copy was, and may be closed or damaged since
	polling  sync.Once   // told that no notifications arrive
	bad      badRows
	log      zerolog.Logger

	writing  lock // held for a write; has place for writersAtOnce
	applying lock // held while changes are read and applied, in the order of their versions
	prepared bool // the schema is up to date; written by start and then run
}

// latest stands for what other instances have written.
var latest store.Changes

// errAway is the error of a write while PostgreSQL is known to be away.
var errAway = errors.New("PostgreSQL is unavailable")

// writersAtOnce is fewer than the connections of the pool. PostgreSQL takes one write after the other:
// more writers would only wait there, with all connections, and what was written could not be read.
const writersAtOnce = 2

// takeTimeout is how long a write that is committed waits to be taken without PostgreSQL.
const takeTimeout = 500 * time.Millisecond

func (f *followed) write(ctx context.Context, decide func(store.Tx) error) error {
	changes, err := f.writeTruth(ctx, decide)
	if err != nil {
		return err
	}
	if f.catchUp(ctx, changes) != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeTimeout)
		defer cancel()
		f.take(ctx, changes)
	}
	return nil
}

// writeTruth writes to PostgreSQL, unless that is known to be away.
func (f *followed) writeTruth(ctx context.Context, decide func(store.Tx) error) (store.Changes, error) {
	if f.contact.isLost() {
		return store.Changes{}, errAway
	}
	if err := f.writing.take(ctx); err != nil {
		return store.Changes{}, err
	}
	defer f.writing.give()
	return f.truth.Write(ctx, decide)
}

// catchUp applies what has changed since the position of the copy. own is what this instance has
// written last, and zero for the latest of all: if the copy is at the version before it, nothing has
// to be read.
func (f *followed) catchUp(ctx context.Context, own store.Changes) error {
	if err := f.applying.take(ctx); err != nil {
		return err
	}
	defer f.applying.give()
	if !f.Loaded() {
		return f.reload(ctx)
	}
	at := f.Position()
	if own.History == at.History {
		switch {
		case own.Version <= at.Version:
			return nil
		case own.Version == at.Version+1:
			return f.apply(own)
		}
	}
	changes, err := f.truth.Changes(ctx, at)
	if errors.Is(err, store.ErrTooOld) {
		return f.reload(ctx)
	}
	if err != nil {
		return err
	}
	if changes.Position == at {
		return nil
	}
	return f.apply(changes)
}

// take applies what this instance has written where PostgreSQL has gone away since: the write counts
// here already. What other instances wrote before it follows with the next changes, which bring it
// once more.
func (f *followed) take(ctx context.Context, c store.Changes) {
	if f.applying.take(ctx) != nil {
		return // the changes are being read
	}
	defer f.applying.give()
	if at := f.Position(); at.Version >= c.Version && at.History == c.History {
		return // the copy has this write, and may have later ones
	}
	c.Position = f.Position()
	_ = f.apply(c) // the error is one of the copy; the changes come again
}

// apply brings changes to the copy and the limiter. f.applying is held.
func (f *followed) apply(c store.Changes) error {
	c.Deleted = append(c.Deleted, f.bad.apply(&c)...)
	f.Copy.Apply(c)
	return f.enforcer.apply(c, f.Copy)
}

func (f *followed) audit(ctx context.Context, before int64, limit int) ([]store.Entry, error) {
	if f.contact.isLost() {
		return nil, errAway
	}
	return f.truth.Audit(ctx, before, limit)
}

// start enforces the snapshot, if there is one, and tries to reach PostgreSQL. Without a snapshot
// it keeps trying until f.patience has passed.
func (f *followed) start(ctx context.Context) error {
	if f.Loaded() {
		if err := f.enforcer.enforceAll(f.Copy); err != nil { // damaged since it was opened: not loaded any more
			f.log.Warn().Err(err).Msg("the snapshot of the clients cannot be read")
		}
	}
	bounded, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	for retry := (backoff{}); ; {
		err := f.first(ctx, bounded)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if f.Loaded() {
			f.log.Warn().Err(err).Int64("version", f.Position().Version).
				Msg("PostgreSQL is unavailable: serving with the clients of the snapshot")
			return nil
		}
		if store.Permanent(err) {
			return fmt.Errorf("%s: %w", f.truth.Place(), err)
		}
		if retry.wait(bounded) != nil {
			f.log.Error().Err(err).Dur("connect_timeout", f.patience).
				Msg("PostgreSQL is unavailable: serving with the default limits; no registered limit or block holds")
			return nil
		}
		f.log.Warn().Err(err).Msg("PostgreSQL is unavailable, trying again")
	}
}

// first reaches PostgreSQL for the first time and applies what it has, until bounded ends. A
// migration has the time that it takes.
func (f *followed) first(ctx, bounded context.Context) error {
	if err := f.prepare(ctx); err != nil {
		return err
	}
	if err := f.catchUp(bounded, latest); err != nil {
		return err
	}
	f.contact.found()
	return nil
}

func (f *followed) prepare(ctx context.Context) error {
	if f.prepared {
		return nil
	}
	if err := f.truth.Prepare(ctx); err != nil {
		return err
	}
	f.prepared = true
	return nil
}

func (f *followed) state() state {
	if f.Loaded() {
		f.loaded.Store(true)
	}
	s := f.contact.state()
	s.loaded = f.loaded.Load()
	return s
}

func (f *followed) close() error { return errors.Join(f.Copy.Close(), f.truth.Close()) }
