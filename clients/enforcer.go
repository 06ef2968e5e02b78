package clients

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// enforcer has the limiter enforce the records. It is safe for concurrent use; changes have to come
// in the order of the store.
type enforcer struct {
	limiter *limiter.Limiter
	log     zerolog.Logger

	mu       sync.Mutex
	plans    map[string]*store.Plan
	expiries expiries
	refused  map[limiter.ID]string // clients that cannot be enforced, and why
}

func newEnforcer(l *limiter.Limiter, log zerolog.Logger) *enforcer {
	return &enforcer{limiter: l, log: log, plans: map[string]*store.Plan{}, expiries: newExpiries(), refused: map[limiter.ID]string{}}
}

// apply enforces changes. The records have them already: where a plan has changed, all clients with
// it are read there. The error is that of the records.
func (e *enforcer) apply(c store.Changes, records store.Records) error {
	e.applyOwn(&c)
	if len(c.Plans)+len(c.DeletedPlans) == 0 {
		return nil
	}
	changed := map[string]bool{}
	for _, p := range c.Plans {
		changed[p.Name] = true
	}
	for _, name := range c.DeletedPlans {
		changed[name] = true
	}
	return e.sweep(records, func(one *store.Client) bool { return one.Plan != "" && changed[one.Plan] })
}

// applyOwn enforces changes, but for the clients whose plans have changed.
func (e *enforcer) applyOwn(c *store.Changes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, p := range c.Plans {
		e.plans[p.Name] = &p
	}
	for _, id := range c.Deleted {
		e.forget(id)
	}
	for _, bad := range c.Bad {
		e.refuse(bad.ID, bad.Err)
	}
	for i := range c.Clients {
		e.enforce(&c.Clients[i], now)
	}
	for _, name := range c.DeletedPlans {
		delete(e.plans, name)
	}
}

// enforceAll enforces every record.
func (e *enforcer) enforceAll(records store.Records) error {
	plans, err := records.Plans()
	if err != nil {
		return err
	}
	e.usePlans(plans)
	return e.sweep(records, func(*store.Client) bool { return true })
}

// sweep enforces those of the records that are in. A million of them take seconds: in between, requests
// run, and the lock is free.
func (e *enforcer) sweep(records store.Records, in func(*store.Client) bool) error {
	return eachPage(records, func(page []store.Client) error {
		e.enforcePage(page, in)
		runtime.Gosched()
		return nil
	})
}

func (e *enforcer) enforcePage(page []store.Client, in func(*store.Client) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for i := range page {
		if in(&page[i]) {
			e.enforce(&page[i], now)
		}
	}
}

// usePlans replaces all plans.
func (e *enforcer) usePlans(plans []store.Plan) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.plans)
	for _, p := range plans {
		e.plans[p.Name] = &p
	}
}

// enforce gives the limiter one client as it is at the moment, with the lock held.
func (e *enforcer) enforce(c *store.Client, now time.Time) {
	plan := e.plans[c.Plan]
	if err := c.Check(plan); err != nil {
		e.refuse(c.ID, err)
		return
	}
	delete(e.refused, c.ID)
	if c.Expired(now) {
		e.limiter.Delete(c.ID)
	} else {
		e.limiter.Set(limiter.Registration{ID: c.ID, Keys: inForce(c.Keys, now), Terms: c.Enforced(plan)})
	}
	e.expiries.add(c, now)
}

// refuse leaves a client out that cannot be enforced, with the lock held, and tells once why.
func (e *enforcer) refuse(id limiter.ID, cause error) {
	if id != (limiter.ID{}) {
		e.limiter.Delete(id)
	}
	if e.refused[id] == cause.Error() {
		return
	}
	e.refused[id] = cause.Error()
	e.log.Warn().Str("client", id.String()).Str("cause", cause.Error()).
		Msg("a client in the store is not enforced: it has what the limiter refuses; the API or SQL can mend it")
}

// forget ends the enforcement of a client, with the lock held.
func (e *enforcer) forget(id limiter.ID) {
	e.limiter.Delete(id)
	delete(e.refused, id)
	e.expiries.remove(id)
}

// left returns the clients that are left out, in words.
func (e *enforcer) left() (n int, example string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := slices.Collect(maps.Keys(e.refused))
	if len(ids) == 0 {
		return 0, ""
	}
	return len(ids), ids[0].String() + ": " + e.refused[ids[0]]
}

// inForce returns the keys that have not expired. Where all have, no request is the client's.
func inForce(keys []store.Key, now time.Time) (all [limiter.MaxKeys]limiter.KeyDigest) {
	n := 0
	for i := range keys {
		if !keys[i].Expired(now) {
			all[n] = keys[i].Digest
			n++
		}
	}
	return all
}

// each visits all records, page by page.
func each(records store.Records, visit func(*store.Client)) error {
	return eachUntil(records, func(c *store.Client) error {
		visit(c)
		return nil
	})
}

// eachUntil visits all records, page by page, until visit returns an error, which it returns.
func eachUntil(records store.Records, visit func(*store.Client) error) error {
	return eachPage(records, func(page []store.Client) error {
		for i := range page {
			if err := visit(&page[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachPage visits all records, until visit returns an error, which it returns. The next page takes
// the memory of the one before.
func eachPage(records store.Records, visit func(page []store.Client) error) (err error) {
	const size = 1000
	page := make([]store.Client, 0, size)
	for after := (limiter.ID{}); ; {
		if page, err = records.AppendClients(page[:0], after, size); err != nil {
			return err
		}
		if err := visit(page); err != nil || len(page) < size {
			return err
		}
		after = page[size-1].ID
	}
}
