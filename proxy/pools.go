package proxy

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/upstream"
)

// pools are the pools of the config, and the checks of each.
type pools struct {
	log  zerolog.Logger
	keep func(Settings) error // see ByHand

	mu       sync.Mutex
	byName   map[string]*running
	absent   Settings        // of pools that the config does not have
	unsaved  bool            // settings have changed since they were kept
	ctx      context.Context // of run; nil before
	checking sync.WaitGroup
}

// running is a pool and, while its checks run, what ends them.
type running struct {
	*upstream.Pool
	stop context.CancelFunc
}

// apply makes the pools that are new, gives those that stay their configs, and returns all by name.
// Those that went are still used until retire. Each may wait for look-ups of names, so they do so
// together.
func (p *pools) apply(configs map[string]upstream.PoolConfig) map[string]*upstream.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.byName
	p.byName = make(map[string]*running, len(configs))
	var applied sync.WaitGroup
	for name, c := range configs {
		pool := before[name]
		if pool == nil {
			pool = &running{}
		}
		p.byName[name] = pool
		settings := p.absent[name]
		delete(p.absent, name)
		applied.Go(func() {
			if pool.Pool == nil {
				pool.Pool = upstream.NewPool(name, c, p.log)
				pool.Restore(settings)
			} else {
				pool.Apply(c)
			}
		})
	}
	applied.Wait()
	all := make(map[string]*upstream.Pool, len(configs))
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		all[name] = p.byName[name].Pool
		if before[name] == nil {
			p.check(p.byName[name])
		}
		delete(before, name)
	}
	for name, gone := range before {
		if settings := gone.Settings(); len(settings) > 0 {
			p.absent[name] = settings
		}
		if gone.stop != nil {
			gone.stop()
		}
	}
	return all
}

// retire ends the use of the pools, of those given, that the config no longer has.
func (p *pools) retire(before []*upstream.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pool := range before {
		if now := p.byName[pool.Name()]; now == nil || now.Pool != pool {
			pool.Retire()
		}
	}
}

// run checks the backends until ctx ends, and returns once no check is running.
func (p *pools) run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	for _, pool := range p.byName {
		p.check(pool)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock() // no apply starts another
	defer p.mu.Unlock()
	p.checking.Wait()
}

// check begins the checks of a pool, unless run has not begun or is over.
func (p *pools) check(pool *running) {
	if p.ctx == nil || p.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(p.ctx)
	pool.stop = stop
	p.checking.Go(func() { pool.Run(ctx) })
}

// save keeps what operators have set by hand, if that has changed. With forget it drops first what
// was set of pools and backends that the config no longer has.
func (p *pools) save(forget bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pool := range p.byName {
		p.unsaved = pool.TakeUnsaved() || p.unsaved
	}
	if !p.unsaved || p.keep == nil {
		return nil
	}
	if forget {
		p.forget()
	}
	all := maps.Clone(p.absent)
	for name, pool := range p.byName {
		if settings := pool.Settings(); len(settings) > 0 {
			all[name] = settings
		}
	}
	if err := p.keep(all); err != nil {
		return err
	}
	p.unsaved = false
	return nil
}

// forget drops what was set of pools and backends that the config no longer has.
func (p *pools) forget() {
	for name := range p.absent {
		p.log.Info().Str("pool", name).Msg("what was set by hand is dropped: the config no longer has the pool")
	}
	clear(p.absent)
	for _, pool := range p.byName {
		pool.Forget()
	}
}
