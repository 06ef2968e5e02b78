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
	"sync/atomic"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// keysNotRead is logged as a warning, because a client that is registered with a key should be
// identified by it.
const keysNotRead = "clients with an API key are registered, but limiter.api_key_header is empty: " +
	"no request counts as theirs"

// Service is the API over the store. Calls get 503 until Start has returned. It is safe for
// concurrent use, except that Close must follow the return of Start and Run.
type Service struct {
	config     Config
	usecase    *usecase // without a store until Start
	controller *controller
	started    atomic.Bool
	up         up
	log        zerolog.Logger
}

// New returns a service for the store of cfg, which must be valid, and does not touch it. readsKeys
// reports whether API keys are read from requests at present.
func New(cfg Config, lim *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) (*Service, error) {
	s := &Service{config: cfg, usecase: &usecase{limiter: lim, locks: newStripedLocks()}, log: log}
	s.controller = &controller{usecase: s.usecase, started: s.started.Load, readsKeys: readsKeys, log: log}
	return s, nil
}

// Start opens the store and loads every client into the limiter, and returns once this instance may
// serve. It tries to reach PostgreSQL until the ConnectTimeout has passed or ctx ends, and updates
// its schema. Errors name the host or the file, never the password. Close the service to release
// the store.
func (s *Service) Start(ctx context.Context) error {
	store, place, err := openStorage(ctx, s.config, s.log)
	if err != nil {
		return err
	}
	s.usecase.store = store
	n, err := s.usecase.load(ctx)
	if err != nil {
		s.usecase.store = nil
		_ = store.close() // the first error is the one to return
		return fmt.Errorf("load the clients from %s: %w", place, err)
	}
	s.log.Info().Str("store", place).Int("clients", n.all).Msg("clients loaded")
	if n.named > 0 && !s.controller.readsKeys() {
		s.log.Warn().Int("clients", n.named).Msg(keysNotRead)
	}
	s.started.Store(true)
	return nil
}

// Run follows the store until ctx ends. It returns an error if the store has failed for good.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Warning returns what an operator should know of the clients that are in force, as a line with its
// line break, or "".
func (s *Service) Warning() string { return "" }

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
func (s *Service) Close() error {
	if !s.started.Load() {
		return nil
	}
	return s.usecase.store.close()
}
