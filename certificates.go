package main

import (
	"context"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
	"loadbalancer/proxy/acme"
)

// certificates are those that an authority issues, and where they are kept.
type certificates struct {
	*acme.Manager
	pool *pgxpool.Pool // nil: they are in a folder
}

// acmeConnections is how many connections to PostgreSQL the storage may have at a time: one for a
// domain, one for a challenge, and those that renew locks.
const acmeConnections = 4

// newCertificates asks nothing of the database before Run, and no authority before clients are
// served, whose connections challenges come by.
func newCertificates(c config, served <-chan struct{}, log zerolog.Logger) (*certificates, error) {
	var kept certificates
	var storage certmagic.Storage
	if at := c.Server.TLS.ACME; at.InPostgres() {
		pool, err := store.OpenPool(context.Background(), c.Clients.Store, acmeConnections)
		if err != nil {
			return nil, err
		}
		kept.pool, storage = pool, acme.NewPostgres(pool)
	} else {
		storage = acme.NewFolder(at.Storage)
	}
	kept.Manager = acme.NewManager(c.Server.TLS.ACME, c.challenges(), acme.Options{Storage: storage, Ready: served, Log: log})
	return &kept, nil
}

// challenges are those that can be answered: by a handshake wherever TLS is spoken, by a request where
// there is a listener for requests in the clear.
func (c *config) challenges() acme.Offers {
	return acme.Offers{HTTP01: !c.Server.isSecure() || !c.Server.TLS.RedirectFrom.IsZero(), TLSALPN01: true}
}

// loadTime bounds how long the start waits for the certificates that are in the storage.
const loadTime = 3 * time.Second

// load waits for the certificates that are in the storage, so that the first clients get them.
func (c *certificates) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	c.Load(ctx)
}

// poolTime bounds the farewell to a database that may not answer. What is left then is the end of the
// process to close.
const poolTime = 2 * time.Second

// close ends the use of the database, after Run.
func (c *certificates) close() {
	if c.pool == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(poolTime):
	}
}

// validateACME calls wrong if the certificates are to be kept in a database that there is none of.
func (c *config) validateACME(wrong func(path string, value any, allowed string)) {
	if c.Server.TLS.ACME.InPostgres() && !store.IsPostgres(c.Clients.Store) {
		wrong("server.tls.acme.storage", c.Server.TLS.ACME.Storage, "a folder, or a postgres:// URL as clients.store, whose database this is")
	}
}
