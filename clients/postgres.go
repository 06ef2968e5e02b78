package clients

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Between two attempts to reach PostgreSQL at start the pause doubles from the first to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// attemptTimeout bounds one attempt, so that a host which drops packets is asked more than once.
	attemptTimeout = 5 * time.Second
)

// uniqueViolation is a SQLSTATE: PostgreSQL manual, appendix A.
const uniqueViolation = "23505"

// postgres is the storage in PostgreSQL 12 or newer.
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

// hosts names the servers of a config, without user and password.
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

// awaitPostgres returns once PostgreSQL answers, or when the timeout has passed.
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
		if cause == nil || ctx.Err() == nil { // an attempt cut short by the timeout tells less than the one before
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

const (
	selectClients = "SELECT ip_address, capacity, rate_per_second, created_at, updated_at FROM clients"
	selectClient  = selectClients + " WHERE ip_address = $1"
	selectFirst   = selectClients + " ORDER BY ip_address LIMIT $1"
	selectAfter   = selectClients + " WHERE ip_address > $2 ORDER BY ip_address LIMIT $1"
	insertClient  = "INSERT INTO clients (ip_address, capacity, rate_per_second, created_at, updated_at) " +
		"VALUES ($1, $2, $3, $4, $5)"
	updateClient = "UPDATE clients SET capacity = $2, rate_per_second = $3, updated_at = $4 WHERE ip_address = $1 " +
		"RETURNING created_at"
	deleteClient = "DELETE FROM clients WHERE ip_address = $1"
)

func (p *postgres) get(ctx context.Context, id netip.Prefix) (client, error) {
	c, err := scanClient(p.pool.QueryRow(ctx, selectClient, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return client{}, errNotFound
	}
	return c, err
}

func (p *postgres) scan(ctx context.Context, after netip.Prefix, limit int, visit func(client) error) error {
	if limit == 0 {
		limit = math.MaxInt
	}
	query, args := selectFirst, []any{limit}
	if after.IsValid() {
		query, args = selectAfter, append(args, after)
	}
	rows, err := p.pool.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanClient(rows)
		if err != nil {
			return err
		}
		if err := visit(c); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (p *postgres) insert(ctx context.Context, c client) error {
	_, err := p.pool.Exec(ctx, insertClient, c.id, c.limit.Capacity, c.limit.RatePerSecond, c.createdAt, c.updatedAt)
	if pgError, ok := errors.AsType[*pgconn.PgError](err); ok && pgError.Code == uniqueViolation {
		return errExists
	}
	return err
}

func (p *postgres) update(ctx context.Context, c client) (client, error) {
	row := p.pool.QueryRow(ctx, updateClient, c.id, c.limit.Capacity, c.limit.RatePerSecond, c.updatedAt)
	err := row.Scan(&c.createdAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return client{}, errNotFound
	}
	c.createdAt = c.createdAt.UTC()
	return c, err
}

func (p *postgres) remove(ctx context.Context, id netip.Prefix) error {
	tag, err := p.pool.Exec(ctx, deleteClient, id)
	if err == nil && tag.RowsAffected() == 0 {
		return errNotFound
	}
	return err
}

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}

func scanClient(row pgx.Row) (client, error) {
	var c client
	err := row.Scan(&c.id, &c.limit.Capacity, &c.limit.RatePerSecond, &c.createdAt, &c.updatedAt)
	c.createdAt, c.updatedAt = c.createdAt.UTC(), c.updatedAt.UTC()
	return c, err
}
