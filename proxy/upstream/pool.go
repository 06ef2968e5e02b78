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
	ramping  bool       // a step of the ramps is due; guarded by marking
	config   atomic.Pointer[PoolConfig]
	current  atomic.Pointer[snapshot]
	served   recentClients // by any of the backends

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
	members  []balance.Member
	set      *balance.Set
	trials   []*Backend // where there are no backends: those that may be tried, see trial
	panics   bool       // see available
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
// their connections, their state and their counters. Those that are added wait for their first
// check: see Unproven. Those that go finish the requests that they have; then their connections are
// closed.
func (p *Pool) Apply(c PoolConfig) {
	was := p.config.Load() // nil: the pool is new
	var added []*Backend
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
			added = append(added, b)
		}
		b.configure(bc, c.Timeouts.Connect)
		p.backends[i], targets[i] = b, p.target(b)
	}
	if p.config.Store(&c); was != nil {
		p.distrust(added, c.Health.Timeout)
	}
	p.rebuild()
	p.marking.Unlock()
	if was != nil {
		p.noteChecks(was, &c)
	}
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

// Mark sets or clears a bit of a backend's state. It is the only writer of states. It closes the
// idle connections of a backend that takes no requests. Where the backend is found not to work, it
// interrupts the requests that wait there and may be sent to another.
func (p *Pool) Mark(b *Backend, bit State, on bool) {
	p.marking.Lock()
	defer p.marking.Unlock()
	p.mark(b, bit, on)
}

// mark is Mark while marking.
func (p *Pool) mark(b *Backend, bit State, on bool) {
	s := State(b.state.Load()) &^ bit
	if on {
		s |= bit
	}
	if s == 0 && b.state.Load() != 0 {
		b.returned = time.Now()
		b.outlier.returned.Store(b.outlier.sample(&b.codes))
	}
	b.state.Store(uint32(s))
	p.rebuild()
	if b.TakesRequests() {
		return
	}
	b.CloseIdle()
	if on && bit&foundOut != 0 && p.TakesRequests() {
		b.conns.recall()
	}
}

// rebuild makes a snapshot of the current states.
func (p *Pool) rebuild() {
	p.trustUnlessOthersTake()
	c := p.config.Load()
	s := &snapshot{policy: c.Balance}
	s.backends, s.panics = p.available()
	if len(s.backends) == 0 {
		s.trials = slices.DeleteFunc(slices.Clone(p.backends), func(b *Backend) bool { return State(b.state.Load())&Draining != 0 })
	}
	weights := p.weights(c, s.backends)
	s.members = make([]balance.Member, len(s.backends))
	for i, b := range s.backends {
		s.members[i] = balance.Member{Weight: weights[i], Hash: b.hash, InFlight: &b.inFlight}
	}
	s.set = balance.NewSet(s.members, &p.turn)
	before := p.current.Swap(s)
	p.notePanic(before != nil && before.panics, s)
}

// weights returns the weights of the backends that the policy goes by: their own or, while one is
// on a ramp, in proportion to the steps of all; another step is then due. A policy that goes by the
// client's key would move clients, and so hears of no ramp.
func (p *Pool) weights(c *PoolConfig, backends []*Backend) []int {
	weights, ramps := make([]int, len(backends)), false
	now := time.Now()
	for i, b := range backends {
		step := rampSteps
		if c.Balance != balance.IPHash {
			step = rampStep(b.returned, c.ramp(), now)
		}
		if weights[i] = b.weight * step; step < rampSteps {
			ramps = true
		}
	}
	if ramps && !p.ramping {
		p.ramping = true
		time.AfterFunc(c.ramp()/rampSteps, p.ascend)
	}
	return weights
}

// ascend takes the backends on a ramp a step higher.
func (p *Pool) ascend() {
	p.marking.Lock()
	defer p.marking.Unlock()
	p.ramping = false
	p.rebuild()
}

// Pick chooses the backend of a request's next attempt by the pool's policy, among those that take
// requests and are not in tried, and adds it to tried. Where none takes any, each gets one request
// a second all the same. Pick returns nil if there is none. The key stands for the client. The
// first attempt counts the request, by the time it began, towards the retry budget; each further
// one counts as a retry. One Tried has room for 16 attempts, the most that the config allows.
func (p *Pool) Pick(key uint64, began time.Time, tried *Tried) *Backend {
	s := p.current.Load()
	var b *Backend
	if len(s.backends) > 0 {
		b = s.untried(s.policy.Pick(s.set, key), tried)
	} else {
		b = p.trial(s.trials, tried, time.Now())
	}
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
