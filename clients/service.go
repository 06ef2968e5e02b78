// Package clients manages the clients that have limits of their own: it serves the REST API, and
// has the limiter enforce what the store has.
//
// The package has three layers: the controller decodes and encodes HTTP, the usecase has the rules,
// and the keeper brings what package store keeps to the limiter. Every write is enforced by this
// instance before the call returns, so the request path of the proxy reads the limiter alone and
// never this package. A write that has returned is durable unless the store is memory. With
// PostgreSQL, the keeper follows what other instances write, and goes on from its copy while
// PostgreSQL is away.
//
// The package knows nothing of how limits are enforced, of the proxy, or of who may call the API.
package clients

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// keysNotRead is logged as a warning, because a client that is registered with a key should be
// identified by it.
const keysNotRead = "clients with an API key are registered, but limiter.api_key_header is empty: " +
	"no request counts as theirs"

// memoryStore is the value of clients.store for clients that are lost when the process ends.
const memoryStore = "memory"

// Service is the API and the enforcement of the clients in a store. It is safe for concurrent use.
type Service struct {
	cfg        Config
	enforcer   *enforcer
	usecase    *usecase
	controller *controller
	usage      keptUsage
	log        zerolog.Logger
}

// New returns a service that has not opened its store: until Start has, calls get 503. cfg must be
// valid. readsKeys reports whether API keys are read from requests at present.
func New(cfg Config, lim *limiter.Limiter, readsKeys func() bool, log zerolog.Logger) *Service {
	u := &usecase{limiter: lim}
	u.use(absent{store.OpenMemory(store.Bounds{})})
	return &Service{
		cfg:        cfg,
		enforcer:   newEnforcer(lim, log),
		usecase:    u,
		controller: &controller{usecase: u, readsKeys: readsKeys, log: log},
		usage:      keptUsage{path: usageFile(cfg)},
		log:        log,
	}
}

// Start opens the store and has the limiter enforce its clients. It returns when this instance may
// serve, or an error, which ends the process. With PostgreSQL that does not answer, it returns
// after the first attempt if there is a snapshot, and else after cfg.ConnectTimeout. Errors name the
// host or the file, never the password. Close the service to release the store.
func (s *Service) Start(ctx context.Context) error {
	k, place, err := s.open()
	if err != nil {
		return err
	}
	s.usecase.use(k)
	if err := k.start(ctx); err != nil {
		return fmt.Errorf("load the clients from %s: %w", place, err)
	}
	if k.state().loaded {
		s.usage.restore(s.usecase.limiter, s.log)
		s.log.Info().Str("store", place).Int("clients", s.usecase.limiter.Registered()).Msg("clients loaded")
	}
	if hasNames(k) && !s.controller.readsKeys() {
		s.log.Warn().Msg(keysNotRead)
	}
	return nil
}

// hasNames reports whether a client has a name, and so an API key.
func hasNames(records store.Records) bool {
	last := netip.MustParsePrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128") // names come behind all ranges
	named, err := records.Clients(limiter.ID{Prefix: last}, 1)
	return err == nil && len(named) > 0
}

// open returns the keeper of the configured store, and where that is, in words without a password.
func (s *Service) open() (k keeper, place string, err error) {
	bounds := store.Bounds{MaxAge: s.cfg.Audit.MaxAge, MaxCount: s.cfg.Audit.MaxCount}
	switch {
	case store.IsPostgres(s.cfg.Store):
		return s.openPostgres(bounds)
	case s.cfg.Store == memoryStore:
		s.log.Warn().Str("store", memoryStore).Msg("clients are not kept: those that are registered are gone when the process ends")
		return &local{localStore: store.OpenMemory(bounds), enforcer: s.enforcer}, memoryStore, nil
	}
	path := strings.TrimPrefix(s.cfg.Store, filePrefix)
	file, err := store.OpenFile(path, bounds)
	if err != nil {
		return nil, "", err
	}
	return &local{localStore: file, enforcer: s.enforcer, failed: file.Failed()}, "the file " + path, nil
}

func (s *Service) openPostgres(bounds store.Bounds) (k keeper, place string, err error) {
	truth, err := store.OpenPostgres(store.PostgresConfig{URL: s.cfg.Store, Bounds: bounds}, s.log)
	if err != nil {
		return nil, "", err
	}
	log := s.log.With().Str("store", truth.Place()).Logger()
	copied, err := store.OpenCopy(s.cfg.Snapshot)
	if err != nil {
		log.Warn().Err(err).Msg("the snapshot of the clients is not used: without PostgreSQL, a start has no clients")
	}
	return &followed{
		Copy: copied, truth: truth, enforcer: s.enforcer, patience: s.cfg.ConnectTimeout,
		contact: newContact(), writing: make(lock, writersAtOnce), applying: newLock(), log: log,
	}, truth.Place(), nil
}

// Run follows the store until ctx ends, after Start has returned. It returns an error if the store
// has failed for good, as a damaged file has; then the process has to end.
func (s *Service) Run(ctx context.Context) error { return s.usecase.keeper().run(ctx) }

// Register adds the calls to r, under /v1/api, each with and without a trailing slash.
func (s *Service) Register(r *router.Router) { s.controller.register(r) }

// Up reports whether the store answers.
func (s *Service) Up() bool { return !s.usecase.keeper().state().away }

// Warning returns lines for the text of /readyz, each with its line break, or "": what is not
// enforced although it should be.
func (s *Service) Warning() string {
	var text strings.Builder
	if !s.usecase.keeper().state().loaded {
		text.WriteString("warning: the client store has not answered yet: no registered limit or block holds\n")
	}
	if n, example := s.enforcer.left(); n > 0 {
		fmt.Fprintf(&text, "warning: the store has %s that cannot be enforced, such as %s\n", countOfClients(n), example)
	}
	return text.String()
}

// Close waits for calls in progress, keeps the counts of the clients' requests for the next start and
// releases the store. Later calls get 503.
func (s *Service) Close() error {
	s.usage.save(s.usecase.limiter, s.log)
	return s.usecase.keeper().close()
}
