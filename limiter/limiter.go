// Package limiter gives every client its token bucket.
//
// Clients that were registered, by address or by range, have the limit that was set for them.
// Everybody else has the default limit, one bucket per IPv4 address or IPv6 network.
package limiter

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"github.com/puzpuzpuz/xsync/v4"
)

// Limiter decides which requests are let through. Make one with New; the zero value is not usable.
//
// All methods are safe for concurrent use. Identify and Take take no lock, and allocate nothing
// unless the table of unregistered clients has to grow for a newcomer. Set and Delete wait for each
// other only. A registered client costs about 130 bytes; unregistered ones at most 32 each when
// the table is full.
type Limiter struct {
	base      time.Time // moments are nanoseconds since base, and at least 1
	seed      maphash.Seed
	fields    Fields
	networkHi uint64 // mask of an IPv6 address that leaves what tells unregistered clients apart
	networkLo uint64
	anonymous *table
	exact     *xsync.Map[netip.Addr, *bucket]
	ranges    atomic.Pointer[bart.Table[*bucket]] // never changed, only replaced

	registering sync.Mutex // serializes writes to exact and ranges
}

// bucket is the token bucket of a registered client. Its limit never changes: a new limit is a
// new bucket, which the old one, closed, leads to.
type bucket struct {
	rates rates
	state atomic.Int64
	owed  int64 // see carry; guarded by Limiter.registering
	next  atomic.Pointer[bucket]
}

// Client is who asks, as found by Identify. It is a plain value, meant for one request.
type Client struct {
	addr   netip.Addr
	bucket *bucket // nil if nobody registered the client
}

// New returns a limiter without registered clients. The config must have passed Validate.
func New(cfg Config) *Limiter {
	fields, _ := fieldsOf(cfg.Headers)
	l := &Limiter{
		base:      time.Now(),
		seed:      maphash.MakeSeed(),
		fields:    fields,
		networkHi: ^uint64(0) << max(0, 64-cfg.IPv6Prefix),
		networkLo: ^uint64(0) << min(64, 128-cfg.IPv6Prefix),
		anonymous: newTable(prepare(cfg.Default), cfg.MaxTracked),
		exact:     xsync.NewMap[netip.Addr, *bucket](),
	}
	l.ranges.Store(new(bart.Table[*bucket]))
	return l
}

// Identify finds out who asks: the client registered for the address itself, else for the longest
// range that holds it, else the unregistered client of the address. An IPv4 address mapped to IPv6
// counts as IPv4, and zones do not count.
func (l *Limiter) Identify(addr netip.Addr) Client {
	addr = addr.Unmap().WithZone("")
	if b, ok := l.exact.Load(addr); ok {
		return Client{addr, b}
	}
	b, _ := l.ranges.Load().Lookup(addr)
	return Client{addr, b}
}

// Take asks for a token on behalf of the client. The time should carry a monotonic reading, else
// steps of the wall clock give and take tokens.
func (l *Limiter) Take(c Client, now time.Time) Decision {
	return l.take(c, l.since(now))
}

func (l *Limiter) take(c Client, now int64) Decision {
	for c.bucket != nil {
		if o, ok := takeFrom(&c.bucket.state, now, &c.bucket.rates); ok {
			return c.bucket.rates.decision(o)
		}
		if c.bucket = c.bucket.next.Load(); c.bucket == nil { // deleted after Identify
			c = l.Identify(c.addr)
		}
	}
	return l.anonymous.rates.decision(l.anonymous.take(l.key(c.addr), now))
}

// key returns what tells unregistered clients apart: a hash of the IPv4 address or IPv6 network,
// neither 0 nor sealed. The seed is random and the hash keyed, so nobody can aim at a bucket. That any two of
// a million clients share one happens with a probability of 3 in 100 million.
func (l *Limiter) key(addr netip.Addr) uint64 {
	bytes := addr.As16()
	network := [2]uint64{binary.BigEndian.Uint64(bytes[:8]), binary.BigEndian.Uint64(bytes[8:])}
	if addr.Is6() {
		network[0] &= l.networkHi
		network[1] &= l.networkLo
	}
	return min(max(1, maphash.Comparable(l.seed, network)), sealed-1)
}

// since returns the moment of t. Before the first, all buckets are full.
func (l *Limiter) since(t time.Time) int64 {
	return max(1, t.Sub(l.base).Nanoseconds())
}

// Set gives the address or range a limit, which must have passed Limit.Check. It is effective for
// the next Take. A new client starts with a full bucket. A known one keeps its bucket and what it
// has spent, up to the new capacity; no number of changes grants it a token more than the larger
// of the limits does. A range is one client: its addresses share the bucket.
func (l *Limiter) Set(p netip.Prefix, limit Limit) {
	l.set(p, limit, l.since(time.Now()))
}

func (l *Limiter) set(p netip.Prefix, limit Limit, now int64) {
	p = canonical(p)
	b := &bucket{rates: prepare(limit)}

	l.registering.Lock()
	defer l.registering.Unlock()
	if old := l.registered(p); old != nil {
		old.replace(b, now)
	}
	if p.IsSingleIP() {
		l.exact.Store(p.Addr(), b)
	} else {
		l.ranges.Store(l.ranges.Load().InsertPersist(p, b))
	}
}

// Delete forgets the client registered for exactly this address or range, if there is one. What
// an address has spent is charged to its unregistered bucket, so that deletion does not refill it.
// The addresses of a range fall back to buckets of their own, in the state these are in.
func (l *Limiter) Delete(p netip.Prefix) {
	l.delete(p, l.since(time.Now()))
}

func (l *Limiter) delete(p netip.Prefix, now int64) {
	p = canonical(p)

	l.registering.Lock()
	defer l.registering.Unlock()
	old := l.registered(p)
	switch {
	case old == nil:
	case p.IsSingleIP():
		// A Take that finds the bucket closed identifies its client again. By then it must be gone.
		l.exact.Delete(p.Addr())
		tat := old.state.Or(closed)
		r := &l.anonymous.rates
		spent, _ := carry(&old.rates, tat, 0, now, r)
		l.anonymous.charge(l.key(p.Addr()), spent-r.at(now), now)
	default:
		l.ranges.Store(l.ranges.Load().DeletePersist(p))
		old.state.Or(closed)
	}
}

// replace moves the bucket's state to next, for the limit that next has, and closes the bucket.
func (b *bucket) replace(next *bucket, now int64) {
	b.next.Store(next)
	for {
		tat := b.state.Load()
		moved, owed := carry(&b.rates, tat, b.owed, now, &next.rates)
		next.state.Store(moved) // nobody sees it before the next line succeeds
		next.owed = owed
		if b.state.CompareAndSwap(tat, tat|closed) {
			return
		}
	}
}

// registered returns the bucket of exactly this address or range, or nil.
func (l *Limiter) registered(p netip.Prefix) *bucket {
	if p.IsSingleIP() {
		b, _ := l.exact.Load(p.Addr())
		return b
	}
	b, _ := l.ranges.Load().Get(p)
	return b
}

// canonical returns the form of an address or range in which it is stored: masked, without a
// zone, and IPv4 where it is IPv4 mapped to IPv6.
func canonical(p netip.Prefix) netip.Prefix {
	addr, size := p.Addr().WithZone(""), p.Bits()
	if addr.Is4In6() && size >= 96 {
		addr, size = addr.Unmap(), size-96
	}
	return netip.PrefixFrom(addr, size).Masked()
}

// Registered returns the number of registered addresses and ranges.
func (l *Limiter) Registered() int {
	return l.exact.Size() + l.ranges.Load().Size()
}

// Tracked returns the number of unregistered clients that have a bucket of their own. Some of
// them may be full again and only wait to be replaced.
func (l *Limiter) Tracked() int {
	return int(l.anonymous.tracked.Load())
}
