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
// cannot be picked from. It is safe for concurrent use: requests read the snapshot, and Mark
// replaces it. It lives as long as the process.
type Pool struct {
	name     string
	policy   balance.Policy
	timeouts TimeoutConfig
	retry    RetryConfig
	health   healthz.Config
	backends []*Backend
	log      zerolog.Logger

	marking sync.Mutex // held while a state changes and the snapshot is rebuilt
	current atomic.Pointer[snapshot]

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
	backends []*Backend
	set      *balance.Set
}

// NewPool returns a pool whose backends all take requests. c must be valid. The log gets a line
// when the health checks take a backend out or bring it back. NewPool starts nothing: see Run.
func NewPool(name string, c PoolConfig, log zerolog.Logger) *Pool {
	p := &Pool{
		name:     name,
		policy:   c.Balance,
		timeouts: c.Timeouts,
		retry:    c.Retry,
		health:   c.Health,
		log:      log,
		budget:   retryBudget{start: time.Now()},
		requests: Requests{labels: metrics.Label("pool", name)},
	}
	for _, b := range c.Backends {
		p.backends = append(p.backends, newBackend(b, c.Timeouts.Connect))
	}
	p.rebuild()
	return p
}

// Name returns the pool's name in the config, as metrics and logs have it.
func (p *Pool) Name() string { return p.name }

// Timeouts returns the pool's timeouts.
func (p *Pool) Timeouts() TimeoutConfig { return p.timeouts }

// Retry returns which requests may be retried, and how often.
func (p *Pool) Retry() RetryConfig { return p.retry }

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
	p.current.Store(&snapshot{available, balance.NewSet(members, &p.turn)})
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
	b := s.untried(p.policy.Pick(s.set, key), tried)
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
	for _, b := range p.backends {
		b.CloseIdle()
	}
}
