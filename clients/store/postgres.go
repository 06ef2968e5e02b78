package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// closeTimeout bounds Close.
const closeTimeout = 2 * time.Second

// PostgresConfig says where the clients are kept in PostgreSQL.
type PostgresConfig struct {
	URL    string // as ParsePostgresURL takes it
	Bounds Bounds // of the audit
}

// Postgres keeps the clients in PostgreSQL 12 or newer, in which other instances and people change
// them, too. It sends no statement that is prepared by name, and sets nothing beyond a transaction,
// so that it works through a pooler.
type Postgres struct {
	pool    *pgxpool.Pool
	servers *servers
	place   string
	bounds  Bounds
	log     zerolog.Logger
	closed  atomic.Bool
	leaving sync.WaitGroup // for connections that were given up
}

var _ Store = (*Postgres)(nil)

// OpenPostgres returns a store that connects when it is used. Errors and Place do not tell the
// password.
func OpenPostgres(cfg PostgresConfig, log zerolog.Logger) (*Postgres, error) {
	known := new(servers)
	config, err := poolConfig(cfg.URL, known)
	if err != nil {
		return nil, fmt.Errorf("clients.store: allowed is %w", err)
	}
	place := "PostgreSQL at " + strings.Join(addresses(&config.ConnConfig.Config), ", ")
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, err)
	}
	return &Postgres{pool: pool, servers: known, place: place, bounds: cfg.Bounds, log: log.With().Str("store", place).Logger()}, nil
}

// Place says in words where the clients are kept, without user and password.
func (p *Postgres) Place() string { return p.place }

// addresses returns those of the servers in a config.
func addresses(config *pgconn.Config) []string {
	_, address := pgconn.NetworkAddress(config.Host, config.Port)
	all := []string{address}
	for _, fallback := range config.Fallbacks { // further hosts, and the same host without TLS
		if _, address := pgconn.NetworkAddress(fallback.Host, fallback.Port); !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// Close closes the connections that are not in use, and the others when they are given back. A
// PostgreSQL that does not answer could hold it up for 15 seconds; after 2 seconds, what is left is
// the end of the process to close.
func (p *Postgres) Close() error {
	p.closed.Store(true)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.pool.Close()
		p.leaving.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
	return nil
}
