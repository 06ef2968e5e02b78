// Package limiter gives every client its token bucket.
//
// Clients that were registered, by address or by range, have the limit that was set for them.
// Everybody else has the default limit, one bucket per IPv4 address or IPv6 network.
package limiter

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// Limiter decides which requests are let through. Make one with New; the zero value is not usable.
//
// All methods are safe for concurrent use. Identify and Take take no lock, and allocate nothing
// unless the table of unregistered clients has to grow for a newcomer. Set and Delete wait for each
// other only. A registered address costs 160 to 240 bytes, see index; unregistered clients at most 32
// each when the table is full.
type Limiter struct {
	base      time.Time // moments are nanoseconds since base, and at least 1
	fields    Fields
	keyHeader string // in lower case
	secret    hashKey
	networkHi uint64 // mask of an IPv6 address that leaves what tells unregistered clients apart
	networkLo uint64
	anonymous *table
	exact     *index
	ranges    atomic.Pointer[bart.Table[*bucket]] // never changed, only replaced

	registering sync.Mutex // serializes writes to exact and ranges
}

// bucket is the token bucket of a registered client. Its limit never changes: a new limit is a
// new bucket, which the old one, closed, leads to. What a request needs comes first, so as to be
// in as few lines of the processor's cache as can be.
type bucket struct {
	state atomic.Int64 // never 0 once requests can find it
	rates rates
	next  atomic.Pointer[bucket]
	owed  int64 // see carry; guarded by Limiter.registering
}

// full is the state of a bucket from which nobody has taken yet.
const full = 1

func newBucket(r rates) *bucket {
	b := &bucket{rates: r}
	b.state.Store(full)
	return b
}

// Client is who asks, as found by Identify. It is a plain value, meant for one request. It is of
// four words because the compiler keeps no larger struct in registers.
type Client struct {
	address address
	bucket  *bucket // nil if nobody registered the client
	hash    uint64  // of the IPv4 address or IPv6 network, if nobody registered the client
}

// New returns a limiter without registered clients. The config must have passed Validate.
func New(cfg Config) *Limiter {
	fields, _ := fieldsOf(cfg.Headers)
	l := &Limiter{
		base:      time.Now(),
		fields:    fields,
		keyHeader: strings.ToLower(cfg.APIKeyHeader),
		secret:    newHashKey(),
		networkHi: ^uint64(0) << max(0, 64-cfg.IPv6Prefix),
		networkLo: ^uint64(0) << min(64, 128-cfg.IPv6Prefix),
		anonymous: newTable(prepare(cfg.Default.Limit), cfg.MaxTracked),
	}
	l.exact = newIndex(l.secret.hash)
	l.ranges.Store(new(bart.Table[*bucket]))
	return l
}

// KeyHeader returns the name, in lower case, of the request header field with the API key, or "" if
// clients are known by address only.
func (l *Limiter) KeyHeader() string { return l.keyHeader }

// Identify finds out who asks: the client registered for the address itself, else for the longest
// range that holds it, else the unregistered client of the address. An IPv4 address mapped to IPv6
// counts as IPv4, and zones do not count.
func (l *Limiter) Identify(addr netip.Addr, apiKey []byte) Client {
	if !addr.IsValid() {
		return Client{}
	}
	return l.identify(addressOf(addr))
}

func (l *Limiter) identify(a address) Client {
	hash := l.secret.hash(a)
	if b := l.exact.find(hash, a); b != nil {
		return Client{address: a, bucket: b}
	}
	if ranges := l.ranges.Load(); ranges.Size() > 0 {
		if b, ok := ranges.Lookup(a.addr()); ok {
			return Client{address: a, bucket: b}
		}
	}
	if network := l.network(a); network != a {
		hash = l.secret.hash(network)
	}
	return Client{address: a, hash: hash}
}

// Admit decides about a request of the client and fills in d. A request that is allowed is under way
// until the lease is released. The time should carry a monotonic reading, else steps of the wall
// clock give and take tokens.
func (l *Limiter) Admit(c Client, now time.Time, d *Decision) Lease {
	r, o := l.ask(c, l.since(now))
	r.describe(o, d)
	return Lease{}
}

// Lease is a request under way, of a registered client or, in its zero value, of another.
type Lease struct{}

// Release ends the request. It must be called once.
func (s Lease) Release() {}

// ask returns what came of a request for a token, and the rates it was decided by.
func (l *Limiter) ask(c Client, now int64) (*rates, outcome) {
	for c.bucket != nil {
		if o, ok := takeFrom(&c.bucket.state, now, &c.bucket.rates); ok {
			return &c.bucket.rates, o
		}
		if c.bucket = c.bucket.next.Load(); c.bucket == nil { // deleted after Identify
			c = l.identify(c.address)
		}
	}
	return &l.anonymous.rates, l.anonymous.take(key(c.hash), now)
}

// network returns what unregistered clients are told apart by: the IPv4 address or IPv6 network.
func (l *Limiter) network(a address) address {
	if a.is4() {
		return a
	}
	return address{a.hi & l.networkHi, a.lo & l.networkLo}
}

// key returns what tells unregistered clients apart: the hash of the IPv4 address or IPv6 network,
// made neither 0 nor sealed. That any two of a million clients share one happens with a probability
// of 3 in 100 million.
func key(hash uint64) uint64 {
	return min(max(1, hash), sealed-1)
}

// since returns the moment of t. Before the first, all buckets are full.
func (l *Limiter) since(t time.Time) int64 {
	return max(1, t.Sub(l.base).Nanoseconds())
}

// Set gives the address or range a limit, which must have passed Limit.Check. It is effective for
// the next Take. A new client starts with a full bucket. A known one keeps its bucket and what it
// has spent, up to the new capacity; no number of changes grants it a token more than the larger
// of the limits does. A range is one client: its addresses share the bucket.
func (l *Limiter) Set(r Registration) {
	if r.ID.Name == "" {
		l.set(r.ID.Prefix, r.Terms.Limit, l.since(time.Now()))
	}
}

func (l *Limiter) set(p netip.Prefix, limit Limit, now int64) {
	p = canonical(p)
	r := prepare(limit)

	l.registering.Lock()
	defer l.registering.Unlock()
	if p.IsSingleIP() {
		l.exact.put(addressOf(p.Addr()), r, now)
		return
	}
	b := newBucket(r)
	ranges := l.ranges.Load()
	if old, ok := ranges.Get(p); ok {
		old.replace(b, now)
	}
	l.ranges.Store(ranges.InsertPersist(p, b))
}

// Delete forgets the client registered for exactly this address or range, if there is one. What
// an address has spent is charged to its unregistered bucket, so that deletion does not refill it.
// The addresses of a range fall back to buckets of their own, in the state these are in.
func (l *Limiter) Delete(id ID) {
	if id.Name == "" {
		l.delete(id.Prefix, l.since(time.Now()))
	}
}

func (l *Limiter) delete(p netip.Prefix, now int64) {
	p = canonical(p)

	l.registering.Lock()
	defer l.registering.Unlock()
	if p.IsSingleIP() {
		a := addressOf(p.Addr())
		if old := l.exact.remove(a); old != nil {
			l.chargeAnonymous(a, old, now)
		}
		return
	}
	ranges := l.ranges.Load()
	if old, ok := ranges.Get(p); ok {
		l.ranges.Store(ranges.DeletePersist(p))
		old.state.Or(closed)
	}
}

// chargeAnonymous charges what was spent from a closed bucket to the unregistered client of the
// address.
func (l *Limiter) chargeAnonymous(a address, old *bucket, now int64) {
	r := &l.anonymous.rates
	spent, _ := carry(&old.rates, old.state.Load()&^closed, 0, now, r)
	l.anonymous.charge(key(l.secret.hash(l.network(a))), spent-r.at(now), now)
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

// move makes next what the bucket is, and closes the bucket.
func (b *bucket) move(next *bucket) {
	next.rates, next.owed = b.rates, b.owed
	b.next.Store(next)
	for {
		tat := b.state.Load()
		next.state.Store(tat) // nobody sees it before the next line succeeds
		if b.state.CompareAndSwap(tat, tat|closed) {
			return
		}
	}
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
	return int(l.exact.size.Load()) + l.ranges.Load().Size()
}

// Tracked returns the number of unregistered clients that have a bucket of their own. Some of
// them may be full again and only wait to be replaced.
func (l *Limiter) Tracked() int {
	return int(l.anonymous.tracked.Load())
}
