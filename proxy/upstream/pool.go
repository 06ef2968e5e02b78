// Package upstream holds pools and their backends: which of them take requests now, the connections
// to them, and what was seen of them.
//
// A request gets a backend only while no bit of the backend's State is set, and never the same one
// twice. Retries cannot multiply the load of a pool beyond its budget. A connection has one owner
// at a time, and an idle one that its backend has closed, or on which it has sent something, is not
// given out. Picking a backend takes no lock and allocates nothing.
//
// The package knows nothing of requests, responses and their protocol, of routes, or of what may be
// retried: the caller sends the request, decides, and counts the result.
package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/metrics"
)

// Pool is a group of backends that serve the same requests. Make one with NewPool: the zero value
// cannot be picked from. It is safe for concurrent use: requests read the config and the snapshot;
// Apply replaces both, and Mark the snapshot.
type Pool struct {
	name   string
	log    zerolog.Logger
	checks *healthz.Watcher

	marking  sync.Mutex // held while a state or the backends change and the snapshot is rebuilt
	backends []*Backend // guarded by marking
	config   atomic.Pointer[PoolConfig]
	current  atomic.Pointer[snapshot]

	_             [64]byte // the fields below change with every request
	turn          atomic.Uint64
	budget        retryBudget
	requests      Requests
	retries       atomic.Uint64
	retriesDenied atomic.Uint64
}

// snapshot holds the backends of a pool that take requests, and the same backends as the set that a
// policy picks from. It is immutable.
type snapshot struct {
	policy   balance.Policy
	backends []*Backend
	set      *balance.Set
}

// NewPool returns a pool whose backends all take requests. c must be valid. The log gets a line
// when the health checks take a backend out or bring it back. NewPool starts nothing: see Run.
func NewPool(name string, c PoolConfig, log zerolog.Logger) *Pool {
	p := &Pool{
		name:     name,
		log:      log,
		checks:   healthz.NewWatcher(c.Health, nil),
		budget:   retryBudget{start: time.Now()},
		requests: Requests{labels: metrics.Label("pool", name)},
	}
	p.Apply(c)
	return p
}

// Apply gives the pool another config, which must be valid. Backends that stay, by their URLs, keep
// their connections, their state and their counters. Those that go finish the requests that they
// have; then their connections are closed.
func (p *Pool) Apply(c PoolConfig) {
	p.marking.Lock()
	before := make(map[string]*Backend, len(p.backends))
	for _, b := range p.backends {
		before[b.url.text] = b
	}
	p.backends = make([]*Backend, len(c.Backends))
	targets := make([]healthz.Target, len(c.Backends))
	for i, bc := range c.Backends {
		b := before[bc.URL.text]
		delete(before, bc.URL.text)
		if b == nil {
			b = newBackend(bc.URL, p.requests.labels)
		}
		b.configure(bc, c.Timeouts.Connect)
		p.backends[i], targets[i] = b, p.target(b)
	}
	p.config.Store(&c)
	p.rebuild()
	p.marking.Unlock()
	p.checks.Set(c.Health, targets) // not while marking: it waits for reports, which mark
	for _, b := range before {
		b.conns.retire()
	}
}

// Retire ends the use of a pool to which no route leads any more: as its requests end, the
// connections to its backends are closed.
func (p *Pool) Retire() {
	for _, b := range p.all() {
		b.conns.retire()
	}
}

// all returns the backends of the config.
func (p *Pool) all() []*Backend {
	p.marking.Lock()
	defer p.marking.Unlock()
	return p.backends // Apply replaces the slice and never changes it
}

// Name returns the pool's name in the config, as metrics and logs have it.
func (p *Pool) Name() string { return p.name }

// Timeouts returns the pool's timeouts.
func (p *Pool) Timeouts() TimeoutConfig { return p.config.Load().Timeouts }

// Retry returns which requests may be retried, and how often.
func (p *Pool) Retry() RetryConfig { return p.config.Load().Retry }

// Host returns the Host that the backend gets in place of the request's, or "" for that of the
// request.
func (p *Pool) Host(b *Backend) string { return p.config.Load().Host.of(b.url) }

// Mark sets or clears a bit of a backend's state. It is the only writer of states. It closes the
// idle connections of a backend that takes no requests.
func (p *Pool) Mark(b *Backend, bit State, on bool) {
	p.marking.Lock()
	defer p.marking.Unlock()
	s := State(b.state.Load()) &^ bit
	if on {
		s |= bit
	}
	b.state.Store(uint32(s))
	p.rebuild()
	if s != 0 {
		b.CloseIdle()
	}
}

// rebuild makes a snapshot of the current states.
func (p *Pool) rebuild() {
	available := slices.DeleteFunc(slices.Clone(p.backends), func(b *Backend) bool { return !b.takesRequests() })
	members := make([]balance.Member, len(available))
	for i, b := range available {
		members[i] = balance.Member{Weight: b.weight, Hash: b.hash, InFlight: &b.inFlight}
	}
	p.current.Store(&snapshot{p.config.Load().Balance, available, balance.NewSet(members, &p.turn)})
}

// Pick chooses the backend of a request's next attempt by the pool's policy, among those that take
// requests and are not in tried, and adds it to tried. It returns nil if there is none. The key
// stands for the client. The first attempt counts the request, by the time it began, towards the
// retry budget; each further one counts as a retry. One Tried has room for 16 attempts, the most
// that the config allows.
func (p *Pool) Pick(key uint64, began time.Time, tried *Tried) *Backend {
	s := p.current.Load()
	if len(s.backends) == 0 {
		return nil
	}
	b := s.untried(s.policy.Pick(s.set, key), tried)
	if b == nil {
		return nil
	}
	if tried.n == 0 {
		p.budget.request(began)
	} else {
		p.retries.Add(1)
	}
	tried.add(b)
	return b
}

// untried returns the first backend, starting with the picked one, that the request has not tried,
// or nil if there is none.
func (s *snapshot) untried(picked int, t *Tried) *Backend {
	for i := range s.backends {
		if b := s.backends[(picked+i)%len(s.backends)]; !t.has(b) {
			return b
		}
	}
	return nil
}

// HasUntried reports whether a backend takes requests that is not in tried.
func (p *Pool) HasUntried(tried *Tried) bool {
	return slices.ContainsFunc(p.current.Load().backends, func(b *Backend) bool { return !tried.has(b) })
}

// TakesRequests reports whether at least one backend takes requests.
func (p *Pool) TakesRequests() bool { return len(p.current.Load().backends) > 0 }

// SpendRetry takes a retry at this time out of the pool's budget and returns true. If the budget is
// spent it counts a denied retry and returns false.
func (p *Pool) SpendRetry(now time.Time) bool {
	if p.budget.spend(now) {
		return true
	}
	p.retriesDenied.Add(1)
	return false
}

// CloseIdle closes the idle connections to all backends.
func (p *Pool) CloseIdle() {
	for _, b := range p.all() {
		b.CloseIdle()
	}
}
