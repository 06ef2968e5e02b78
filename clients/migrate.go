package clients

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// migrationFiles are named NNNN_what.sql, from 0001 without gaps. A released file never changes.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the key of the advisory lock, the ASCII bytes "lb_migra". It is the same in
// every instance and version.
const migrationLock int64 = 0x6c625f6d69677261

// migrate updates the schema in one transaction. Instances that start at the same time wait for the
// first one. A schema newer than this binary is left as it is, so that older instances keep working
// during a rollout.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return fmt.Errorf("take the lock for migrations: %w", err)
		}
		_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS clients_migrations ("+
			"version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
		if err != nil {
			return fmt.Errorf("create the table clients_migrations: %w", err)
		}
		var version int
		err = tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM clients_migrations").Scan(&version)
		if err != nil {
			return fmt.Errorf("read the table clients_migrations: %w", err)
		}
		return applyMigrations(ctx, tx, version)
	})
}

// applyMigrations runs the files with numbers above version, in order.
func applyMigrations(ctx context.Context, tx pgx.Tx, version int) error {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		number, err := strconv.Atoi(digits)
		if err != nil {
			panic(fmt.Sprintf("BUG: migration %s has no number: %v", name, err))
		}
		if number <= version {
			continue
		}
		statements, err := migrationFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, string(statements)); err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO clients_migrations (version) VALUES ($1)", number); err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
	}
	return nil
}
