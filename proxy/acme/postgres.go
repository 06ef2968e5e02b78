package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// database keeps what certmagic stores in two tables of a PostgreSQL, which instances share. It
// sends no statement that is prepared by name, and sets nothing beyond a transaction, so that it
// works through a pooler.
type database struct {
	pool     *pgxpool.Pool
	prepared atomic.Bool
	lease    time.Duration // of a lock

	mu   sync.Mutex
	held map[string]*lease
}

const (
	// statementTime bounds each use of the database.
	statementTime = 3 * time.Second
	// leaseTime is how long a lock outlives an instance that has crashed. It is renewed three times in
	// that.
	leaseTime = 30 * time.Second
	// tablesLock is the key of the advisory lock under which the tables are made, the ASCII bytes
	// "lb_acme".
	tablesLock int64 = 0x6c625f61636d65
)

// tables are made by the first instance that needs them.
const tables = `
CREATE TABLE IF NOT EXISTS acme_storage (
    key         text        COLLATE "C" PRIMARY KEY,
    value       bytea       NOT NULL,
    modified_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS acme_locks (
    name       text        COLLATE "C" PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
);`

// NewPostgres returns a storage in the tables acme_storage and acme_locks, which are made where they
// do not exist. The pool has to be closed after the last use.
func NewPostgres(pool *pgxpool.Pool) certmagic.Storage {
	return &database{pool: pool, lease: leaseTime, held: map[string]*lease{}}
}

// on runs use with the tables there, which may be run twice: once more on a fresh connection if the
// one it had was dead, or led to a server that has become a standby. Its error is one line.
func (d *database) on(ctx context.Context, use func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	err := d.prepare(ctx)
	if err == nil {
		err = use(ctx)
	}
	if ctx.Err() == nil && worthFresh(err) {
		d.pool.Reset()
		err = use(ctx)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return databaseError{err}
}

// worthFresh reports whether what failed may succeed on a fresh connection.
func worthFresh(err error) bool {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || answer.Code == readOnly || strings.HasPrefix(answer.Code, operatorIntervention)
}

// Values and beginnings of SQLSTATE (PostgreSQL manual, appendix A).
const (
	readOnly             = "25006"
	insufficientRights   = "42501"
	operatorIntervention = "57P" // the server shuts down or starts
)

// databaseError is an error of the database in one line.
type databaseError struct{ error }

func (e databaseError) Error() string { return "the storage in PostgreSQL: " + inOneLine(e.error) }
func (e databaseError) Unwrap() error { return e.error }

// prepare makes the tables unless they are there. A role with the right to read and write them
// suffices then.
func (d *database) prepare(ctx context.Context) error {
	if d.prepared.Load() {
		return nil
	}
	var there bool
	err := d.pool.QueryRow(ctx, "SELECT to_regclass('acme_storage') IS NOT NULL AND to_regclass('acme_locks') IS NOT NULL").Scan(&there)
	if err == nil && !there {
		err = d.makeTables(ctx)
	}
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok && answer.Code == insufficientRights {
		err = fmt.Errorf("the tables acme_storage and acme_locks are missing, and the role may not make them: "+
			"start once with a role that has the right CREATE on the schema: %w", err)
	}
	if err == nil {
		d.prepared.Store(true)
	}
	return err
}

// makeTables makes the tables. Instances that start at the same time wait for the first one.
func (d *database) makeTables(ctx context.Context) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", tablesLock); err != nil {
			return err
		}
		for statement := range strings.SplitSeq(strings.TrimSuffix(tables, ";"), ";") {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeTime is how long Store tries on for what has cost an order.
const storeTime = time.Minute

// Store puts a value at a key. A certificate that was just issued is worth trying on while the
// database is away.
func (d *database) Store(ctx context.Context, key string, value []byte) error {
	for end := time.Now().Add(storeTime); ; {
		err := d.store(ctx, key, value)
		if !worthFresh(err) || !strings.HasPrefix(key, "certificates/") || time.Now().After(end) || pause(ctx, time.Second) != nil {
			return err
		}
	}
}

func (d *database) store(ctx context.Context, key string, value []byte) error {
	return d.on(ctx, func(ctx context.Context) error {
		_, err := d.pool.Exec(ctx, "INSERT INTO acme_storage (key, value) VALUES ($1, $2) "+
			"ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified_at = now()", key, value)
		return err
	})
}

// Load returns the value at a key, or fs.ErrNotExist.
func (d *database) Load(ctx context.Context, key string) (value []byte, err error) {
	err = d.on(ctx, func(ctx context.Context) error {
		return orNotExist(d.pool.QueryRow(ctx, "SELECT value FROM acme_storage WHERE key = $1", key).Scan(&value))
	})
	return value, err
}

// Delete deletes a key, and all below it.
func (d *database) Delete(ctx context.Context, key string) error {
	return d.on(ctx, func(ctx context.Context) error {
		_, err := d.pool.Exec(ctx, "DELETE FROM acme_storage WHERE key = $1 OR starts_with(key, $2)", key, key+"/")
		return err
	})
}

// Exists reports whether there is a value at a key, or below it.
func (d *database) Exists(ctx context.Context, key string) bool {
	var exists bool
	err := d.on(ctx, func(ctx context.Context) error {
		return d.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM acme_storage WHERE key = $1 OR starts_with(key, $2))", key, key+"/").Scan(&exists)
	})
	return err == nil && exists
}

// List returns the keys below a path, or fs.ErrNotExist if there are none. Unless it is recursive,
// those below another key are left out, and that key stands for them.
func (d *database) List(ctx context.Context, path string, recursive bool) (keys []string, err error) {
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	err = d.on(ctx, func(ctx context.Context) error {
		column := "key"
		if !recursive {
			column = "DISTINCT $1 || split_part(substr(key, length($1) + 1), '/', 1)"
		}
		rows, err := d.pool.Query(ctx, "SELECT "+column+" FROM acme_storage WHERE starts_with(key, $1) ORDER BY 1", prefix)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		if err == nil && len(keys) == 0 {
			return fs.ErrNotExist
		}
		return err
	})
	return keys, err
}

// Stat returns what is known of a key, or fs.ErrNotExist.
func (d *database) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info := certmagic.KeyInfo{Key: key, IsTerminal: true}
	err := d.on(ctx, func(ctx context.Context) error {
		return orNotExist(d.pool.QueryRow(ctx, "SELECT modified_at, length(value) FROM acme_storage WHERE key = $1", key).Scan(&info.Modified, &info.Size))
	})
	if errors.Is(err, fs.ErrNotExist) && d.Exists(ctx, key) {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return info, err
}

func orNotExist(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fs.ErrNotExist
	}
	return err
}

// holder is a name for one holding of a lock.
func holder() string { return rand.Text() }
