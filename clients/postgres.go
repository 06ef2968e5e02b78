package clients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// The pause between two attempts to reach PostgreSQL at start doubles from firstPause to
// longestPause.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// attemptTimeout bounds one attempt, so that a host that drops packets is tried more than once.
	attemptTimeout = 5 * time.Second
)

// postgres stores the clients in PostgreSQL 12 or newer.
type postgres struct{ pool *pgxpool.Pool }

// openPostgres also returns the place, as openStorage does.
func openPostgres(ctx context.Context, cfg Config, log zerolog.Logger) (storage, string, error) {
	config, err := parsePostgresURL(cfg.Store)
	if err != nil {
		return nil, "", fmt.Errorf("clients.store: allowed is %w", err)
	}
	place := "PostgreSQL at " + hosts(&config.ConnConfig.Config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", place, err)
	}
	if err := awaitPostgres(ctx, pool, cfg.ConnectTimeout, log.With().Str("store", place).Logger()); err != nil {
		pool.Close()
		return nil, "", fmt.Errorf("connect to %s: %w", place, err)
	}
	migrating, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := migrate(migrating, pool); err != nil {
		pool.Close()
		return nil, "", fmt.Errorf("migrate the schema of %s (within %s, clients.connect_timeout): %w", place, cfg.ConnectTimeout, err)
	}
	return &postgres{pool: pool}, place, nil
}

// hosts returns the addresses of the servers in a config, without user and password.
func hosts(config *pgconn.Config) string {
	_, address := pgconn.NetworkAddress(config.Host, config.Port)
	addresses := []string{address}
	for _, fallback := range config.Fallbacks { // further hosts, and the same host without TLS
		if _, address := pgconn.NetworkAddress(fallback.Host, fallback.Port); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return strings.Join(addresses, ", ")
}

// awaitPostgres returns nil once PostgreSQL answers, or an error when the timeout has passed.
func awaitPostgres(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration, log zerolog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var cause error
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := pool.Ping(attempt)
		cancel()
		if err == nil {
			return nil
		}
		// The error of an attempt that the timeout ended says less than the one before it.
		if cause == nil || ctx.Err() == nil {
			cause = err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("no success within %s: %w", timeout, cause)
		case <-time.After(pause):
			log.Warn().Err(cause).Msg("PostgreSQL does not answer, trying again")
		}
	}
}
