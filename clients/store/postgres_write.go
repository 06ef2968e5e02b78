package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// beginWrite has this transaction follow all others that change clients, and says with what it
// begins. Where it waits for a lock, PostgreSQL ends the wait before the caller does, so that what
// became of the write is known. A process that stops in the middle does not hold up the others.
const beginWrite = "BEGIN; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = 5000; " +
	"SET LOCAL clients.keys_apart = 'on'; SELECT version, " + history + " FROM clients_version FOR UPDATE"

// A write is tried maxAttempts times where the one before has had no effect.
const (
	maxAttempts   = 3
	deadlockPause = 20 * time.Millisecond
)

// Write implements Store. It returns an error that wraps ErrUnknown if a statement was sent and no
// answer came, also where that was not yet the last one.
func (p *Postgres) Write(ctx context.Context, decide func(Tx) error) (Changes, error) {
	for attempt := 1; ; attempt++ {
		w := write{bounds: p.bounds}
		err := p.on(ctx, func(conn *pgx.Conn) error { return w.run(ctx, conn, decide) })
		if err == nil {
			return w.changes, nil
		}
		if w.refusal != nil {
			return Changes{}, w.refusal
		}
		if attempt == maxAttempts || !w.mayRepeat(ctx, err) {
			return Changes{}, p.whoLocks(ctx, w.outcome(err))
		}
		if isState(err, serializationFailure, deadlockDetected) {
			time.Sleep(deadlockPause) // for the other one to go on
		}
	}
}

// errNoCommit means that the transaction had failed before.
var errNoCommit = errors.New("PostgreSQL answers COMMIT with")

// write is one attempt of a write.
type write struct {
	bounds     Bounds
	changes    Changes
	committing bool  // COMMIT was sent
	refusal    error // of decide
}

func (w *write) run(ctx context.Context, conn *pgx.Conn, decide func(Tx) error) error {
	at, err := begin(ctx, conn)
	if err != nil {
		rollback(ctx, conn)
		return err
	}
	tx := &postgresTx{ctx: ctx, conn: conn, bounds: w.bounds, version: at.Version + 1}
	err = decide(tx)
	switch {
	case tx.failed != nil:
		err = tx.failed
	case err != nil:
		w.refusal = err
	}
	if err != nil {
		rollback(ctx, conn)
		return err
	}
	w.committing = true
	result := conn.PgConn().ExecParams(ctx, "COMMIT", nil, nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	if tag := result.CommandTag.String(); tag != "COMMIT" {
		return fmt.Errorf("%w %s", errNoCommit, tag)
	}
	w.changes = tx.changes
	if w.changes.Position = at; tx.wrote {
		w.changes.Version = tx.version
	}
	return nil
}

func begin(ctx context.Context, conn *pgx.Conn) (at Position, err error) {
	patience := lockTimeout
	if end, bounded := ctx.Deadline(); bounded {
		patience = max(time.Millisecond, time.Until(end)*9/10)
	}
	results, err := simple(ctx, conn, fmt.Sprintf(beginWrite, patience.Milliseconds()))
	if err != nil {
		return Position{}, err
	}
	rows := results[len(results)-1].Rows
	if len(rows) != 1 {
		return Position{}, errNoVersion
	}
	if _, err := fmt.Sscan(string(rows[0][0]), &at.Version); err != nil {
		return Position{}, err
	}
	at.History = string(rows[0][1])
	return at, nil
}

// mayRepeat reports whether what failed has had no effect and may succeed now.
func (w *write) mayRepeat(ctx context.Context, err error) bool {
	if isState(err, serializationFailure, deadlockDetected) {
		return ctx.Err() == nil
	}
	return !w.committing && worthFresh(ctx, err)
}

// outcome returns the error with what is known of the write: whatever came before COMMIT has no
// effect, but the caller is told of a statement without an answer in any case.
func (w *write) outcome(err error) error {
	// A pooler says so where it has lost PostgreSQL.
	lost := w.committing && isState(err, connectionException, connectionFailure, completionUnknown)
	if lost || isBroken(err) && (w.committing || !isAnswer(err)) {
		return fmt.Errorf("%w: %w", ErrUnknown, plain(err))
	}
	return plain(err)
}
