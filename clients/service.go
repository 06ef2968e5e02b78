// Package clients stores the clients that have limits of their own, and serves the REST API that
// manages them.
//
// The package has three layers: the controller decodes and encodes HTTP, the usecase enforces the
// rules, and the storage keeps the clients in PostgreSQL, in an embedded file, or in memory until
// the process ends. Every write updates the limiter before the call returns, so the request path of
// the proxy reads the limiter alone and never this package. A write that has returned is durable
// unless the store is memory.
//
// The package knows nothing of how limits are enforced, of the proxy, or of who may call the API.
package clients

import (
	"context"
	"fmt"
	"strings"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// keysNotRead is logged as a warning, because a client that is registered with a key should be
// identified by it.
const keysNotRead = "clients with an API key are registered, but limiter.api_key_header is empty: " +
	"no request counts as theirs"

// Service is the API over an open store. It is safe for concurrent use.
type Service struct {
	controller *controller
	store      storage
	up         up
}

// Open opens the store of cfg, which must be valid, and loads every client into lim. It tries to
// reach PostgreSQL until cfg.ConnectTimeout has passed, and updates its schema. readsKeys reports
// whether API keys are read from requests at present. Errors name the host or the file, never the
// password. Close the service to release the store.
func Open(ctx context.Context, cfg Config, lim *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) (*Service, error) {
	store, place, err := openStorage(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	n, err := u.load(ctx)
	if err != nil {
		_ = store.close() // the first error is the one to return
		return nil, fmt.Errorf("load the clients from %s: %w", place, err)
	}
	log.Info().Str("store", place).Int("clients", n.all).Msg("clients loaded")
	if n.named > 0 && !readsKeys() {
		log.Warn().Int("clients", n.named).Msg(keysNotRead)
	}
	return &Service{controller: &controller{usecase: u, readsKeys: readsKeys, log: log}, store: store}, nil
}

// openStorage also returns where the clients are stored, in words without a password.
func openStorage(ctx context.Context, cfg Config, log zerolog.Logger) (store storage, place string, err error) {
	switch {
	case isPostgres(cfg.Store):
		return openPostgres(ctx, cfg, log)
	case cfg.Store == memoryStore:
		log.Warn().Str("store", memoryStore).Msg("clients are not kept: those that are registered are gone when the process ends")
		return openMemory(), memoryStore, nil
	}
	path := strings.TrimPrefix(cfg.Store, filePrefix)
	store, err = openFile(path)
	return store, "the file " + path, err
}

// Register adds the calls to r, under /v1/api/clients and at /v1/api/limited, each with and without
// a trailing slash.
func (s *Service) Register(r *router.Router) { s.controller.register(r) }

// Close waits for calls in progress and releases the store. Later calls get 503.
func (s *Service) Close() error { return s.store.close() }
