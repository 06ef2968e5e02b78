package limiter

import (
	"sync"
	"sync/atomic"
)

// underWayShards is the number of parts of an underWay. With this many, requests seldom wait for
// one another.
const underWayShards = 256

// underWay counts the requests in flight of unregistered clients, and of addresses in ranges with
// Terms.Each, by their keys, while these are bounded. It holds those clients alone that have a request in flight. It is safe for concurrent
// use, and never lets more in than the bound. Without a bound, which is the zero value, it counts
// nothing and takes no lock; with one, it holds the lock of a shard for a few instructions.
type underWay struct {
	most   atomic.Int64 // requests of an unregistered client; 0 means no bound
	shards [underWayShards]struct {
		mu       sync.Mutex
		inFlight map[uint64]int64 // guarded by mu; never 0
		_        [40]byte         // a cache line for each
	}
}

// enter lets a request of the client with the key in, until its lease is released. ok is false if
// the bound is reached. Without a bound, which is 0, the lease is the zero value.
func (u *underWay) enter(key uint64, most int64) (lease Lease, ok bool) {
	if most == 0 {
		return Lease{}, true
	}
	s := &u.shards[key%underWayShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.inFlight[key]
	if n >= most {
		return Lease{}, false
	}
	if s.inFlight == nil {
		s.inFlight = make(map[uint64]int64)
	}
	s.inFlight[key] = n + 1
	return Lease{underWay: u, key: key}, true
}

// leave ends a request that enter has counted.
func (u *underWay) leave(key uint64) {
	s := &u.shards[key%underWayShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.inFlight[key]; n > 1 {
		s.inFlight[key] = n - 1
	} else {
		delete(s.inFlight, key)
	}
}

// of returns the number of requests in flight that are counted of a client.
func (u *underWay) of(key uint64) int64 {
	s := &u.shards[key%underWayShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight[key]
}

// refuse decides a request of an unregistered client whose bound is reached. It takes no token.
func (t *table) refuse(key uint64, now int64, d *Decision) {
	tick := t.rates.at(now)
	tat := max(t.peek(key), tick) // it may have been full for long
	t.rates.describe(outcome{tat, now, tick, false}, d)
	d.RetryAfter = untilOneEnds
	d.Shadow = t.shadow.Load()
	d.exceed(InFlight)
}
