package limiter

import "sync/atomic"

// pool bounds the clients of several tables together: the unregistered ones, and those of each range
// with Terms.Each. All of its tables have the same right to a place. A newcomer to any of them takes
// the first that is free or, once all are taken, that of a client with a full bucket: one of its own
// table, else one of the others.
type pool struct {
	max     int64
	tracked atomic.Int64 // cells that belong to a client
	turn    atomic.Uint64

	overflowed atomic.Int64 // requests decided by an overflow bucket

	// tables are those of ranges, and the unregistered. Limiter.registering guards changes.
	tables atomic.Pointer[[]*atomic.Pointer[table]]

	_ [24]byte // newcomers write this line of the cache
}

// join adds a table, which may be replaced under the pointer.
func (p *pool) join(t *atomic.Pointer[table]) {
	var all []*atomic.Pointer[table]
	if old := p.tables.Load(); old != nil {
		all = *old
	}
	all = append(all, t) // beyond what readers of the old slice see
	p.tables.Store(&all)
}

// withdraw removes a table that has joined.
func (p *pool) withdraw(t *atomic.Pointer[table]) {
	old := *p.tables.Load()
	all := make([]*atomic.Pointer[table], 0, len(old))
	for _, other := range old {
		if other != t {
			all = append(all, other)
		}
	}
	p.tables.Store(&all)
}

// evictFromOthers drops clients with full buckets from another table than the given one: from the
// first of the next few with clients, in turn, that has any. It returns false if these have none.
func (p *pool) evictFromOthers(t *table, now int64) bool {
	all := p.tables.Load()
	if all == nil {
		return false
	}
	tries := evictionTries
	for i := 0; i < len(*all) && tries > 0; i++ {
		other := (*all)[p.turn.Add(1)%uint64(len(*all))].Load()
		if other.gone || other.places == t.places || other.held.Load() <= 0 {
			continue
		}
		if other.evictNext(other.rates.at(now), evictionTries) {
			return true
		}
		tries--
	}
	return false
}
