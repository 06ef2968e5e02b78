package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrationFiles are named NNNN_what.sql, from 0001 without gaps. A released file never changes.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the key of the advisory lock, the ASCII bytes "lb_migra". It is the same in
// every instance and version.
const migrationLock int64 = 0x6c625f6d69677261

// tableNames are those that a role needs rights on.
const tableNames = "clients, client_keys, plans, clients_version, clients_deleted, clients_audit, clients_replies"

// migration is a file that the schema lacks.
type migration struct {
	name   string
	number int64
}

const (
	// prepareTimeout bounds the look at a schema, so that a host that drops packets is tried more
	// than once.
	prepareTimeout = 5 * time.Second
	// migrationTimeout bounds a migration: 500,000 clients with names take some 10 seconds.
	migrationTimeout = 10 * time.Minute
)

// Prepare reaches PostgreSQL once and brings the schema up to date. Once it is, a role with the
// right to read and write the tables suffices. A schema newer than this binary is left as it is, so
// that older instances keep working during a rollout. Where a lock is in its way, it says whose.
func (p *Postgres) Prepare(ctx context.Context) error {
	missing, err := p.look(ctx)
	if err == nil && len(missing) > 0 {
		migrating, cancel := context.WithTimeout(ctx, migrationTimeout)
		defer cancel()
		err = p.read(migrating, new(bool), func(conn *pgx.Conn) error {
			return explainRights(p.migrate(migrating, conn), missing)
		})
		if err == nil {
			_, err = p.look(ctx)
		}
	}
	return p.whoLocks(ctx, err)
}

// look returns the migrations that the schema lacks, or an error if it lacks none and the role lacks
// rights.
func (p *Postgres) look(ctx context.Context) (missing []migration, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	err = p.read(ctx, new(bool), func(conn *pgx.Conn) error {
		if missing, err = missingMigrations(ctx, conn); err != nil || len(missing) > 0 {
			return err
		}
		return checkRights(ctx, conn)
	})
	return missing, err
}

// migrate updates the schema in one transaction. Instances that start at the same time wait for the
// first one.
func (p *Postgres) migrate(ctx context.Context, conn *pgx.Conn) error {
	if err := send(ctx, conn, fmt.Sprintf("BEGIN; SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())); err != nil {
		return err
	}
	done, err := applyMigrations(ctx, conn)
	if err != nil {
		rollback(ctx, conn)
		return err
	}
	if err := send(ctx, conn, "COMMIT"); err != nil {
		return err
	}
	for _, m := range done {
		p.log.Info().Str("migration", m.name).Msg("the schema was brought up to date")
	}
	return nil
}

// applyMigrations runs the files that are missing, in order, in a transaction.
func applyMigrations(ctx context.Context, conn *pgx.Conn) ([]migration, error) {
	if err := execute(ctx, conn, "SELECT pg_advisory_xact_lock($1::bigint)", number(migrationLock)); err != nil {
		return nil, fmt.Errorf("take the lock for migrations: %w", err)
	}
	err := send(ctx, conn, "CREATE TABLE IF NOT EXISTS clients_migrations ("+
		"version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
	if err != nil {
		return nil, fmt.Errorf("create the table clients_migrations: %w", err)
	}
	missing, err := missingMigrations(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, m := range missing {
		statements, err := migrationFiles.ReadFile(m.name)
		if err != nil {
			return nil, err
		}
		if err := send(ctx, conn, string(statements)); err != nil {
			return nil, fmt.Errorf("apply %s: %w", m.name, err)
		}
		err = execute(ctx, conn, "INSERT INTO clients_migrations (version) VALUES ($1::integer)", number(m.number))
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", m.name, err)
		}
	}
	return missing, nil
}

// missingMigrations are the files with numbers above that of the schema, in order.
func missingMigrations(ctx context.Context, conn *pgx.Conn) (missing []migration, err error) {
	var version int64
	err = query(ctx, conn, func(columns [][]byte) error {
		f := fields{columns: columns}
		version = f.number(0)
		return f.err
	}, "SELECT max(version)::bigint FROM clients_migrations")
	if err != nil && !isState(err, undefinedTable) {
		return nil, fmt.Errorf("read the table clients_migrations: %w", err)
	}
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			panic(fmt.Sprintf("BUG: migration %s has no number: %v", name, err))
		}
		if number > version {
			missing = append(missing, migration{name, number})
		}
	}
	return missing, nil
}

// explainRights says what to do where the role may not change the schema.
func explainRights(err error, missing []migration) error {
	if !isState(err, insufficientRights) {
		return err
	}
	names := make([]string, len(missing))
	for i, m := range missing {
		names[i] = strings.TrimPrefix(m.name, "migrations/")
	}
	return fmt.Errorf("the schema lacks %s, and the role may not change it: start once with a role that owns the tables "+
		"and has the right CREATE on the schema: %w", strings.Join(names, ", "), err)
}

// checkRights returns an error that names the tables the role may not read and write.
func checkRights(ctx context.Context, conn *pgx.Conn) error {
	var lacking string
	err := query(ctx, conn, func(columns [][]byte) error {
		lacking = string(columns[0])
		return nil
	}, "SELECT string_agg(t, ', ') FROM unnest(string_to_array($1::text, ', ')) t WHERE NOT (has_table_privilege(t, 'SELECT') "+
		"AND has_table_privilege(t, 'INSERT') AND has_table_privilege(t, 'UPDATE') AND has_table_privilege(t, 'DELETE'))", []byte(tableNames))
	if err == nil && lacking != "" {
		err = fmt.Errorf("the role lacks rights: GRANT SELECT, INSERT, UPDATE, DELETE ON %s", lacking)
	}
	return err
}

// whoLocks adds to an error about a lock that was not to be had who has locks on the tables.
func (p *Postgres) whoLocks(ctx context.Context, err error) error {
	if err == nil || !isState(err, lockNotAvailable) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	var holders string
	_ = p.on(ctx, func(conn *pgx.Conn) error { // without an answer, the error stands alone
		return query(ctx, conn, func(columns [][]byte) error {
			holders = string(columns[0])
			return nil
		}, "SELECT string_agg(DISTINCT format('process %s of role %s, %s since %s', a.pid, a.usename, a.state, "+
			"date_trunc('second', a.state_change)), '; ') FROM pg_locks l JOIN pg_stat_activity a USING (pid) "+
			"WHERE l.granted AND a.pid <> pg_backend_pid() AND a.datname = current_database() AND (l.locktype = 'advisory' "+
			"OR l.relation IN (SELECT to_regclass(t) FROM unnest(string_to_array($1::text, ', ')) t))", []byte(tableNames))
	})
	if holders == "" {
		holders = "none of those that are left"
	}
	return fmt.Errorf("%w, held by %s: %w", errLocked, holders, err)
}

// errLocked means that a lock on a table is held for long.
var errLocked = errors.New("a lock is in the way")

// tombstoneAge is how long it is known what was deleted.
const tombstoneAge = 24 * time.Hour

// Prune forgets what was deleted a day ago and before. An instance that was away for longer loads
// all clients anew.
func (p *Postgres) Prune(ctx context.Context) error {
	return p.read(ctx, new(bool), func(conn *pgx.Conn) error {
		return execute(ctx, conn, "WITH gone AS (DELETE FROM clients_deleted WHERE deleted_at < now() - "+
			"make_interval(secs => $1::bigint) RETURNING version) UPDATE clients_version SET pruned = "+
			"greatest(pruned, (SELECT max(version) FROM gone)) WHERE EXISTS (SELECT FROM gone)", number(int64(tombstoneAge/time.Second)))
	})
}
