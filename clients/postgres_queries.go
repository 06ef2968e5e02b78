package clients

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"loadbalancer/limiter"
)

// uniqueViolation is an SQLSTATE (PostgreSQL manual, appendix A).
const uniqueViolation = "23505"

// A value that a client lacks is NULL in the table and zero in Go.
const (
	selectClients = "SELECT ip_address, coalesce(name, ''), api_key_sha256, capacity, rate_per_second, " +
		"coalesce(max_in_flight, 0), shadow, coalesce(trial_capacity, 0), coalesce(trial_rate_per_second, 0), " +
		"created_at, updated_at FROM clients"
	selectRanges   = selectClients + " WHERE ip_address IS NOT NULL ORDER BY ip_address LIMIT $1"
	selectRangesOn = selectClients + " WHERE ip_address > $2 ORDER BY ip_address LIMIT $1"
	selectNamesOn  = selectClients + " WHERE name > $2 ORDER BY name LIMIT $1"

	insertClient = "INSERT INTO clients (ip_address, name, api_key_sha256, capacity, rate_per_second, " +
		"max_in_flight, shadow, trial_capacity, trial_rate_per_second, created_at, updated_at) " +
		"VALUES ($1, nullif($2::text, ''), $3, $4, $5, " +
		"nullif($6::bigint, 0), $7, nullif($8::bigint, 0), nullif($9::double precision, 0), $10, $11)"
	updateClient = "UPDATE clients SET api_key_sha256 = coalesce($2, api_key_sha256), " +
		"capacity = $3, rate_per_second = $4, " +
		"max_in_flight = nullif($5::bigint, 0), shadow = $6, " +
		"trial_capacity = nullif($7::bigint, 0), trial_rate_per_second = nullif($8::double precision, 0), " +
		"updated_at = $9"
	returnUpdated = " RETURNING created_at, api_key_sha256"
	deleteClient  = "DELETE FROM clients"
)

// where returns the condition that selects one client, and the value of its $1.
func where(id limiter.ID) (condition string, value any) {
	if id.Name != "" {
		return " WHERE name = $1", id.Name
	}
	return " WHERE ip_address = $1", id.Prefix
}

func (p *postgres) get(ctx context.Context, id limiter.ID) (client, error) {
	condition, value := where(id)
	c, err := scanClient(p.pool.QueryRow(ctx, selectClients+condition, value))
	if errors.Is(err, pgx.ErrNoRows) {
		return client{}, errNotFound
	}
	return c, err
}

// scan queries ranges and names separately, so that each query can continue from any client in an
// index.
func (p *postgres) scan(ctx context.Context, after limiter.ID, limit int, visit func(client) error) error {
	if limit == 0 {
		limit = math.MaxInt
	}
	if after.Name == "" {
		query, args := selectRanges, []any{limit}
		if after.Prefix.IsValid() {
			query, args = selectRangesOn, append(args, after.Prefix)
		}
		count, err := p.visit(ctx, visit, query, args...)
		if limit -= count; err != nil || limit == 0 {
			return err
		}
	}
	_, err := p.visit(ctx, visit, selectNamesOn, limit, after.Name)
	return err
}

// visit returns the number of clients it has visited.
func (p *postgres) visit(
	ctx context.Context, visit func(client) error, query string, args ...any,
) (count int, err error) {
	rows, err := p.pool.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanClient(rows)
		if err != nil {
			return count, err
		}
		if err := visit(c); err != nil {
			return count, err
		}
		count++
	}
	return count, rows.Err()
}

// insert detects an existing client with ON CONFLICT: if several constraints are violated,
// PostgreSQL reports any one of them, but an existing client takes precedence over its key.
func (p *postgres) insert(ctx context.Context, c client) error {
	conflict := " ON CONFLICT (ip_address) DO NOTHING"
	if c.ID.Name != "" {
		conflict = " ON CONFLICT (name) DO NOTHING"
	}
	t := &c.Terms
	tag, err := p.pool.Exec(ctx, insertClient+conflict, c.ID.Prefix, c.ID.Name, digestOf(c), t.Capacity, t.RatePerSecond,
		t.MaxInFlight, t.Shadow, t.Trial.Capacity, t.Trial.RatePerSecond, c.createdAt, c.updatedAt)
	if err == nil && tag.RowsAffected() == 0 {
		return errExists
	}
	return keyTaken(err)
}

func (p *postgres) update(ctx context.Context, c client) (client, error) {
	condition, value := where(c.ID)
	t := &c.Terms
	row := p.pool.QueryRow(ctx, updateClient+condition+returnUpdated, value, digestOf(c), t.Capacity, t.RatePerSecond,
		t.MaxInFlight, t.Shadow, t.Trial.Capacity, t.Trial.RatePerSecond, c.updatedAt)
	var digest []byte
	err := row.Scan(&c.createdAt, &digest)
	if errors.Is(err, pgx.ErrNoRows) {
		return client{}, errNotFound
	}
	if err != nil {
		return client{}, keyTaken(err)
	}
	copy(c.Keys[0][:], digest)
	c.createdAt = c.createdAt.UTC()
	return c, nil
}

func (p *postgres) remove(ctx context.Context, id limiter.ID) error {
	condition, value := where(id)
	tag, err := p.pool.Exec(ctx, deleteClient+condition, value)
	if err == nil && tag.RowsAffected() == 0 {
		return errNotFound
	}
	return err
}

// close closes the connections. A PostgreSQL that does not answer would hold it up for 15 seconds;
// after storeTimeout, what is left is the end of the process to close.
func (p *postgres) close() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(storeTimeout):
	}
	return nil
}

// keyTaken returns errKeyTaken for a unique violation: that of the key is the only unique
// constraint left for a write to violate.
func keyTaken(err error) error {
	if pgError, ok := errors.AsType[*pgconn.PgError](err); ok && pgError.Code == uniqueViolation {
		return errKeyTaken
	}
	return err
}

// digestOf returns the value of the column api_key_sha256, which is nil (NULL) for the zero key.
func digestOf(c client) []byte {
	if c.Keys[0] == (limiter.KeyDigest{}) {
		return nil
	}
	return c.Keys[0][:]
}

func scanClient(row pgx.Row) (client, error) {
	var c client
	var digest []byte
	t := &c.Terms
	err := row.Scan(&c.ID.Prefix, &c.ID.Name, &digest, &t.Capacity, &t.RatePerSecond,
		&t.MaxInFlight, &t.Shadow, &t.Trial.Capacity, &t.Trial.RatePerSecond, &c.createdAt, &c.updatedAt)
	copy(c.Keys[0][:], digest)
	c.createdAt, c.updatedAt = c.createdAt.UTC(), c.updatedAt.UTC()
	return c, err
}
