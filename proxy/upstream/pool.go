// Package upstream holds pools and their backends: which of them take requests now, the connections
// to them, and what was seen of them.
//
// A request gets a backend only while no bit of the backend's State is set, and the same one twice
// only where it has tried all. Retries cannot multiply the load of a pool beyond its budget. A
// connection has one owner at a time, and an idle one that its backend has closed, or on which it
// has sent something, is not given out. Picking a backend takes no lock and allocates nothing.
//
// The package knows nothing of requests, responses and their protocol, of routes, or of what may be
// retried: the caller sends the request, decides, and counts the result.
package upstream

import (
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/healthz"
	"loadbalancer/proxy/metrics"
)

// Pool is a group of backends that serve the same requests. Make one with NewPool: the zero value
// cannot be picked from. It is safe for concurrent use: requests read the config and the snapshot;
// Apply replaces both, and Mark the snapshot.
type Pool struct {
	name   string
	log    zerolog.Logger
	checks *healthz.Watcher
	reach  func(b *Backend) error // dials
	names  *names

	updating sync.Mutex         // held while the backends change, and what follows from that
	marking  sync.Mutex         // held while a state or the backends change and the snapshot is rebuilt
	backends []*Backend         // guarded by marking
	ramping  bool               // a step of the ramps is due; guarded by marking
	nextEnd  *time.Timer        // when clients move that are kept at a drained backend; nil: never so far. Guarded by marking
	absent   map[string]Setting // set by hand, of backends that the pool does not have now, by URL; guarded by marking
	unsaved  bool               // see TakeUnsaved; guarded by marking
	tls      *credentials       // of config; guarded by updating
	config   atomic.Pointer[PoolConfig]
	current  atomic.Pointer[snapshot]
	suspect  atomic.Pointer[suspect] // see PickSuspect
	served   recentClients           // by any of the backends

	_             [64]byte // the fields below change with every request
	turn          atomic.Uint64
	queue         queue
	budget        retryBudget
	requests      Requests
	retries       atomic.Uint64
	retriesDenied atomic.Uint64
}

// NewPool returns a pool whose backends all take requests. c must be valid. Names are looked up
// once, which takes up to a second; a backend whose name is not found by then comes later. The log
// gets a line when the health checks take a backend out or bring it back. NewPool starts nothing:
// see Run.
func NewPool(name string, c PoolConfig, log zerolog.Logger) *Pool {
	return newPool(name, c, net.DefaultResolver, log)
}

func newPool(name string, c PoolConfig, r *net.Resolver, log zerolog.Logger) *Pool {
	p := &Pool{
		name:     name,
		log:      log,
		checks:   healthz.NewWatcher(c.Health, nil),
		reach:    (*Backend).reach,
		budget:   retryBudget{start: time.Now()},
		requests: Requests{labels: metrics.Label("pool", name)},
		absent:   map[string]Setting{},
	}
	p.names = newNames(r, log.With().Str("pool", name).Logger(), p.renew)
	p.Apply(c)
	return p
}

// Apply gives the pool another config, which must be valid. Backends that stay, by their URLs and,
// where these have a name, their addresses, keep their connections, their state and their counters.
// Those that are added wait for their first check: see Unproven. Those that go finish the requests
// that they have; then their connections are closed. Names that are new are looked up first, which
// takes up to a second.
func (p *Pool) Apply(c PoolConfig) {
	p.updating.Lock()
	defer p.updating.Unlock()
	was := p.config.Load() // nil: the pool is new
	p.names.set(c.questions(), c.Resolve)
	if p.tls == nil || p.tls.config != c.TLS {
		p.tls = newCredentials(c.TLS)
		p.tls.log = p.log.With().Str("pool", p.name).Logger()
	}
	c.Warn(func(path, words string) { p.log.Warn().Str("key", "pools."+p.name+"."+path).Msg(words) })
	p.update(&c)
	if was != nil {
		p.noteChecks(was, &c)
	}
}

// renew has the pool go by other answers to its look-ups.
func (p *Pool) renew() {
	p.updating.Lock()
	defer p.updating.Unlock()
	p.update(p.config.Load())
}

// update gives the pool a config, and the backends that it has by the look-ups of now. It is called
// while updating.
func (p *Pool) update(c *PoolConfig) {
	now := places(c.Backends, func(q question) []target {
		targets, _ := p.names.found(q)
		return targets
	})
	gone := p.replace(c, now)
	targets := make([]healthz.Target, len(now))
	for i, b := range p.all() {
		targets[i] = p.target(b)
	}
	p.checks.Set(c.Health, targets) // not while marking: it waits for reports, which mark
	for _, b := range gone {
		b.conns.retire()
	}
}

// claim gives a backend that the pool has what was set of it by hand. It is called while marking.
func (p *Pool) claim(b *Backend) {
	b.hand = p.absent[b.url.text]
	delete(p.absent, b.url.text)
	if !b.hand.Drained.IsZero() && State(b.state.Load())&Draining == 0 {
		b.become(State(b.state.Load()) | Draining)
		b.since = b.hand.Drained
	}
}

// heedHand has a backend of this config go by what was set by hand, unless the config has been
// changed since then. It is called while marking.
func (p *Pool) heedHand(b *Backend) {
	if b.hand.isOvertaken(b.ofConfig) {
		p.log.Info().Str("pool", p.name).Str("backend", b.url.text).Int("by_hand", b.hand.Weight.Now).
			Int("before", b.hand.Weight.Instead).Int("weight", b.ofConfig).
			Msg("the config, or its SRV record, has another weight than before: it counts in place of the one that was set by hand")
		b.hand.Weight, p.unsaved = nil, true
	}
	b.weight = b.hand.weight(b.ofConfig)
}

// replace gives the pool a config and its backends, and returns those that it had and has no more.
func (p *Pool) replace(c *PoolConfig, now []place) (gone []*Backend) {
	p.marking.Lock()
	defer p.marking.Unlock()
	before := make(map[URL]*Backend, len(p.backends))
	for _, b := range p.backends {
		before[b.url] = b
		if !b.hand.isZero() {
			p.absent[b.url.text] = b.hand
		}
	}
	var added []*Backend
	p.backends = make([]*Backend, len(now))
	for i, at := range now {
		b := before[at.URL]
		delete(before, at.URL)
		if b == nil {
			b = newBackend(at.URL, p.requests.labels)
			b.again = p.names.asks(at.URL.lookup)
			added = append(added, b)
		}
		p.claim(b)
		b.configure(at, c, p.tls)
		p.heedHand(b)
		p.backends[i] = b
	}
	if was := p.config.Swap(c); was != nil {
		p.distrust(added, c.Health.Timeout)
	}
	p.rebuild()
	return slices.Collect(maps.Values(before))
}

// Retire ends the use of a pool to which no route leads any more: as its requests end, the
// connections to its backends are closed.
func (p *Pool) Retire() {
	for _, b := range p.all() {
		b.conns.retire()
	}
}

// all returns the backends of now.
func (p *Pool) all() []*Backend {
	p.marking.Lock()
	defer p.marking.Unlock()
	return p.backends // replace makes another slice, and never changes one
}

// Name returns the pool's name in the config, as metrics and logs have it.
func (p *Pool) Name() string { return p.name }

// Timeouts returns the pool's timeouts.
func (p *Pool) Timeouts() TimeoutConfig { return p.config.Load().Timeouts }

// MaxResponseHeader returns the most bytes of a response's header.
func (p *Pool) MaxResponseHeader() int { return int(p.config.Load().MaxResponseHeader) }

// RequestBuffer returns the length of the longest request body that is read before a backend is
// asked.
func (p *Pool) RequestBuffer() int64 { return int64(p.config.Load().RequestBuffer) }

// ResponseBuffer returns how many bytes of a response are read ahead of a slow client.
func (p *Pool) ResponseBuffer() int64 { return int64(p.config.Load().ResponseBuffer) }

// Retry returns which requests may be retried, and how often.
func (p *Pool) Retry() RetryConfig { return p.config.Load().Retry }

// Host returns the Host that the backend gets in place of the request's, or "" for that of the
// request.
func (p *Pool) Host(b *Backend) string { return p.config.Load().Host.of(b.url) }

// Hash returns what the policy goes by in place of the client's address, or the zero value.
func (p *Pool) Hash() HashKey { return p.config.Load().Hash }

// StickyCookie returns the name of the cookie that keeps clients at their backends, or "" if none
// does.
func (p *Pool) StickyCookie() string { return p.config.Load().Sticky.Cookie }

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
	b.become(s)
	p.rebuild()
	for _, b := range p.backends { // the end of a panic takes out others
		if b.TakesRequests() || p.current.Load().keeps(b) {
			continue
		}
		b.conns.closeUnused()
		if b.IsOut() && p.TakesRequests() {
			b.conns.recall()
		}
	}
}

// rebuild makes a snapshot of the current states.
func (p *Pool) rebuild() {
	p.trustUnlessOthersTake()
	c := p.config.Load()
	available, panics := p.available()
	s := choose(available, p.drained(time.Now()))
	if s.panics = panics; len(s.backends) == 0 {
		s.trials = p.trials()
	}
	s.weigh(c.Balance, p.weights(c, s.backends), &p.turn)
	before := p.current.Swap(s)
	p.closeDrained(s)
	p.notePanic(before != nil && before.panics, s)
	p.queue.advance(2) // there may be room now
}

// weights returns the weights of the backends that the policy goes by: their own or, while one is
// on a ramp, in proportion to the steps of all; another step is then due. A policy that goes by the
// client's key would move clients, and so hears of no ramp.
func (p *Pool) weights(c *PoolConfig, backends []*Backend) []int {
	weights, ramps := make([]int, len(backends)), false
	now := time.Now()
	for i, b := range backends {
		step := rampSteps
		if !c.Balance.ByKey() {
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
// a second all the same. Pick returns nil if there is none. The key stands for the client, and
// began is when the request began: failures are weighed by their age then. The first attempt counts
// the request, by that time, towards the retry budget; each further one counts as a retry. One
// Tried has room for 16 attempts, the most that the config allows.
func (p *Pool) Pick(key uint64, began time.Time, tried *Tried) *Backend {
	s := p.current.Load()
	var b *Backend
	if len(s.backends) > 0 {
		b = s.next(s.pick(s.set, key, began), tried)
	} else {
		b = p.trial(s.trials, tried, time.Now())
	}
	if b != nil {
		p.note(b, began, tried)
	}
	return b
}

// PickPrivate is Pick for the first attempt of a request that has to go over a private connection:
// it returns the backend at its other end, or nil if that takes no requests of this pool, or the
// connection was closed.
func (p *Pool) PickPrivate(o *Private, began time.Time, tried *Tried) *Backend {
	if !o.idle.Load() {
		return nil
	}
	b := p.current.Load().having(o.conn.pool)
	if b != nil {
		p.note(b, began, tried)
	}
	return b
}

// note notes an attempt at the backend: it counts a request at its first attempt, and a retry at
// others.
func (p *Pool) note(b *Backend, began time.Time, tried *Tried) {
	if !tried.counted {
		tried.counted = true
		p.budget.request(began)
	} else if tried.n > 0 {
		p.retries.Add(1)
	}
	tried.add(b)
}

// PickNamed is Pick for the first attempt of a client whose cookie has this value. It returns nil
// where that names no backend, or one that does not serve its clients any more.
func (p *Pool) PickNamed(value []byte, began time.Time, tried *Tried) *Backend {
	b := p.current.Load().at(value)
	if b != nil {
		p.note(b, began, tried)
	}
	return b
}

// HasRoom reports whether a backend takes requests that is neither in tried nor full.
func (p *Pool) HasRoom(tried *Tried) bool { return p.current.Load().next(0, tried) != nil }

// IsFull reports whether backends take requests, and none of them has room for another.
func (p *Pool) IsFull() bool {
	none := Tried{}
	return p.HasUntried(&none) && !p.HasRoom(&none)
}

// Keeps reports whether clients whose cookie names the backend go on there.
func (p *Pool) Keeps(b *Backend) bool { return p.current.Load().keeps(b) }

// HasUntried reports whether a backend takes requests that is not in tried, be it full or not.
func (p *Pool) HasUntried(tried *Tried) bool { return p.current.Load().hasUntried(tried) }

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

// CloseUnused closes the connections to all backends that are not in use.
func (p *Pool) CloseUnused() {
	for _, b := range p.all() {
		b.conns.closeUnused()
	}
}
