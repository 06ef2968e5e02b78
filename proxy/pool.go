package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a group of backends that serve the same requests. It is safe for
// concurrent use: requests read the snapshot, health reports replace it.
type pool struct {
	name           string
	policy         policy
	attempts       int
	idempotencyKey bool // makes a request idempotent
	responseHeader time.Duration
	tunnel         time.Duration
	backends       []*backend
	metrics        *poolMetrics
	turn           atomic.Uint64
	budget         retryBudget

	rebuild sync.Mutex // held while a new snapshot is made
	current atomic.Pointer[snapshot]
}

func newPool(name string, c PoolConfig) *pool {
	p := &pool{
		name:           name,
		policy:         policies[c.Balance],
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
	p.current.Store(newSnapshot(p.backends, &p.turn))
	return p
}

// report tells the pool that a backend went out or came back.
func (p *pool) report(b *backend, up bool) {
	p.rebuild.Lock()
	defer p.rebuild.Unlock()
	b.up.Store(up)
	available := slices.DeleteFunc(slices.Clone(p.backends), func(b *backend) bool { return !b.up.Load() })
	p.current.Store(newSnapshot(available, &p.turn))
	if !up {
		b.idle.CloseIdleConnections()
	}
}

// pick chooses the backend of the next attempt: by the pool's policy, but none
// that this request has tried.
func (p *Proxy) pick(x *exchange) reason {
	s := x.pool.current.Load()
	if len(s.backends) == 0 {
		return noBackend
	}
	b := s.untried(x.pool.policy(s, x.key), &x.tried)
	if b == nil {
		return noBackend
	}
	if x.tried.n == 0 {
		x.pool.budget.request(x.started)
	} else {
		x.pool.metrics.retries.Add(1)
	}
	x.tried.add(b)
	x.backend = b
	return none
}

// hasUntried reports whether a backend takes requests that this one has not tried.
func (p *pool) hasUntried(t *triedSet) bool {
	return slices.ContainsFunc(p.current.Load().backends, func(b *backend) bool { return !t.has(b) })
}
