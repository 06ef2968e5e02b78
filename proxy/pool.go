package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/reason"
)

// pool is a group of backends that serve the same requests. It is safe for concurrent use: requests
// read the snapshot, and mark replaces it.
type pool struct {
	name           string
	policy         balance.Policy
	attempts       int
	idempotencyKey bool // an Idempotency-Key makes a request idempotent
	responseHeader time.Duration
	tunnel         time.Duration
	backends       []*backend
	metrics        *poolMetrics
	turn           atomic.Uint64
	budget         retryBudget

	marking sync.Mutex // held while a state changes and the snapshot is rebuilt
	current atomic.Pointer[snapshot]
}

// snapshot holds the backends of a pool that take requests, and the same backends as the set that a
// policy picks from. It is immutable.
type snapshot struct {
	backends []*backend
	set      *balance.Set
}

func newPool(name string, c PoolConfig) *pool {
	p := &pool{
		name:           name,
		policy:         c.Balance,
		attempts:       c.Retry.Attempts,
		idempotencyKey: c.Retry.IdempotencyKey,
		responseHeader: c.Timeouts.ResponseHeader,
		tunnel:         c.Timeouts.Tunnel,
		metrics:        newPoolMetrics(name),
		budget:         retryBudget{start: time.Now()},
	}
	for _, b := range c.Backends {
		p.backends = append(p.backends, newBackend(p, b, c.Timeouts.Connect))
	}
	p.rebuild()
	return p
}

// mark sets or clears a bit of a backend's state. It is the only writer of states.
func (p *pool) mark(b *backend, bit state, on bool) {
	p.marking.Lock()
	defer p.marking.Unlock()
	s := state(b.state.Load()) &^ bit
	if on {
		s |= bit
	}
	b.state.Store(uint32(s))
	p.rebuild()
	if s != 0 {
		b.idle.CloseIdleConnections()
	}
}

// rebuild makes a snapshot of the current states.
func (p *pool) rebuild() {
	available := slices.DeleteFunc(slices.Clone(p.backends), func(b *backend) bool { return !b.takesRequests() })
	members := make([]balance.Member, len(available))
	for i, b := range available {
		members[i] = balance.Member{Weight: b.weight, Hash: b.hash, InFlight: &b.inFlight}
	}
	p.current.Store(&snapshot{available, balance.NewSet(members, &p.turn)})
}

// pick chooses the backend of the next attempt by the pool's policy, among those that this request
// has not tried.
func (p *Proxy) pick(x *exchange) reason.Code {
	s := x.pool.current.Load()
	if len(s.backends) == 0 {
		return reason.NoBackend
	}
	b := s.untried(x.pool.policy.Pick(s.set, x.key), &x.tried)
	if b == nil {
		return reason.NoBackend
	}
	if x.tried.n == 0 {
		x.pool.budget.request(x.started)
	} else {
		x.pool.metrics.retries.Add(1)
	}
	x.tried.add(b)
	x.backend = b
	return reason.None
}

// untried returns the first backend, starting with the picked one, that the request has not tried,
// or nil if there is none.
func (s *snapshot) untried(picked int, t *triedSet) *backend {
	for i := range s.backends {
		if b := s.backends[(picked+i)%len(s.backends)]; !t.has(b) {
			return b
		}
	}
	return nil
}

// hasUntried reports whether a backend that takes requests has not been tried by this one.
func (p *pool) hasUntried(t *triedSet) bool {
	return slices.ContainsFunc(p.current.Load().backends, func(b *backend) bool { return !t.has(b) })
}
