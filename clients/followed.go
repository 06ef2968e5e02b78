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

	applying lock // held while changes are read and applied, in the order of their versions
	prepared bool // the schema is up to date; written by start and then run
}

// errAway is the error of a write while PostgreSQL is known to be away.
var errAway = errors.New("PostgreSQL does not answer")

func (f *followed) write(ctx context.Context, decide func(store.Tx) error) error {
	if f.contact.isLost() {
		return errAway
	}
	changes, err := f.truth.Write(ctx, decide)
	if err != nil {
		return err
	}
	if f.catchUp(ctx, changes.Version) != nil {
		f.take(ctx, changes)
	}
	return nil
}

// catchUp applies what has changed since the position of the copy, unless that has the version
// already. Version 0 stands for the latest.
func (f *followed) catchUp(ctx context.Context, version int64) error {
	if err := f.applying.take(ctx); err != nil {
		return err
	}
	defer f.applying.give()
	if !f.Loaded() {
		return f.reload(ctx)
	}
	at := f.Position()
	if version != 0 && at.Version >= version {
		return nil
	}
	err := f.fetch(ctx, at)
	if errors.Is(err, store.ErrTooOld) {
		return f.reload(ctx)
	}
	return err
}

// fetch applies what has changed since the position of the copy. What there is must be known in
// answerTimeout; to read it may take long. f.applying is held.
func (f *followed) fetch(ctx context.Context, at store.Position) error {
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if now, err := f.truth.Latest(asking, at); err != nil || now == at {
		return err
	}
	changes, err := f.truth.Changes(ctx, at)
	if err != nil {
		return err
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
		if err := f.enforcer.enforceAll(f.Copy); err != nil {
			return fmt.Errorf("read the snapshot of the clients: %w", err)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	for retry := (backoff{}); ; {
		err := f.first(bounded)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if f.Loaded() {
			f.log.Warn().Err(err).Int64("version", f.Position().Version).
				Msg("PostgreSQL does not answer: serving with the clients of the snapshot")
			return nil
		}
		if store.Permanent(err) {
			return fmt.Errorf("%s: %w", f.truth.Place(), err)
		}
		if retry.wait(bounded) != nil {
			f.log.Error().Err(err).Dur("connect_timeout", f.patience).
				Msg("PostgreSQL does not answer: serving with the default limits; no registered limit or block holds")
			return nil
		}
		f.log.Warn().Err(err).Msg("PostgreSQL does not answer, trying again")
	}
}

// attemptTimeout bounds one attempt to reach PostgreSQL, so that a host that drops packets is tried
// more than once.
const attemptTimeout = 5 * time.Second

// first reaches PostgreSQL for the first time and applies what it has.
func (f *followed) first(ctx context.Context) error {
	if err := f.prepare(ctx); err != nil {
		return err
	}
	if err := f.catchUp(ctx, 0); err != nil {
		return err
	}
	f.contact.found()
	return nil
}

func (f *followed) prepare(ctx context.Context) error {
	if f.prepared {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
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
