package limiter

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// Limiter decides which requests are admitted. Make one with New; the zero value is not usable.
//
// All methods are safe for concurrent use. Identify, Admit, AdmitExempt and Release take no lock,
// and allocate only when the table of unregistered clients has to grow for a newcomer, or
// SetDefault is running. Set, SetDefault, Delete, Reset, Restore, Usage and Limited wait for one
// another. A
// registered address costs 192 to 256 bytes (see index), an unregistered client at most 32 when the
// table is full. Nothing has to be closed.
type Limiter struct {
	base       time.Time // a whole second; moments are nanoseconds since base, and at least 1
	secret     hashKey
	networkHi  uint64 // mask of the IPv6 network of an unregistered client
	networkLo  uint64
	ipv6Prefix int                                 // bits of that mask
	anonymous  atomic.Pointer[table]               // replaced by SetDefault
	underWay   underWay                            // of unregistered clients
	exact      *index                              // by address
	keyed      *index                              // by the first half of the digest of an API key
	ranges     atomic.Pointer[bart.Table[*bucket]] // the first bucket of each; replaced, never changed
	rejected   rejections
	share      *Share // nil: the limits are of this instance

	registering sync.Mutex // serializes changes of the above; guards the fields below
	plans       plans
	names       *names
	debts       debts
}

// Client is the client of one request, as found by Identify. It is a plain value; its zero value is
// the unregistered client without an address. It has four words because the compiler keeps no
// larger struct in registers.
type Client struct {
	address address
	bucket  *bucket // nil if the client is not registered
	hash    uint64  // of the IPv4 address or IPv6 network; if a key led to bucket, the key's first word
}

// AppendName appends the name, the range or the address by which the client is registered, or
// nothing if it is not.
func (c Client) AppendName(dst []byte) []byte {
	if c.bucket == nil {
		return dst
	}
	n := c.bucket.account.named.Load()
	switch {
	case n == nil:
		return c.address.addr().AppendTo(dst)
	case n.within == nil:
		return append(dst, n.name...)
	}
	return n.within.AppendTo(dst)
}

// Name returns the name of a client that is registered by one, or "".
func (c Client) Name() string {
	if c.bucket != nil {
		if n := c.bucket.account.named.Load(); n != nil {
			return n.name
		}
	}
	return ""
}

// New returns a limiter without registered clients. The config must have passed Validate; New
// panics if its default limit has not.
func New(cfg Config) *Limiter {
	now := time.Now()
	l := &Limiter{
		base:       now.Add(-time.Duration(now.Nanosecond())), // so that Usage.LastSeen is a whole second
		secret:     newHashKey(),
		networkHi:  ^uint64(0) << max(0, 64-cfg.IPv6Prefix),
		networkLo:  ^uint64(0) << min(64, 128-cfg.IPv6Prefix),
		ipv6Prefix: cfg.IPv6Prefix,
		plans:      make(plans),
		names:      newNames(),
	}
	t := newTable(prepare(cfg.Default.Limit), cfg.MaxTracked)
	t.shadow.Store(cfg.Default.Shadow)
	l.anonymous.Store(t)
	t.join(&l.anonymous)
	l.underWay.most.Store(cfg.Default.MaxInFlight)
	l.exact, l.keyed = newIndex(l.secret.hash), newIndex(l.secret.hash)
	l.ranges.Store(new(bart.Table[*bucket]))
	return l
}

// Identify returns the client of a request: the one registered for the API key, if there is one;
// else the one registered for the address; else the one registered for the longest range that
// contains the address; else the unregistered client of the address. The key may be empty; a key of
// more than MaxKeySize bytes is not looked up. The address may be invalid.
//
// An IPv4 address mapped to IPv6 counts as IPv4, and zones are ignored. An IPv4 address translated
// to IPv6 with the well-known prefix 64:ff9b::/96 counts as IPv4 for unregistered clients.
func (l *Limiter) Identify(addr netip.Addr, apiKey []byte) Client {
	var a address
	if addr.IsValid() {
		a = addressOf(addr)
	}
	if len(apiKey) > 0 {
		if b, word := l.findKey(apiKey); b != nil {
			return Client{address: a, bucket: b, hash: word}
		}
	}
	return l.identify(a)
}

// findKey returns the bucket of the client with the API key, or nil, and the first word of the
// digest.
func (l *Limiter) findKey(apiKey []byte) (b *bucket, word uint64) {
	if len(apiKey) > MaxKeySize || l.keyed.size.Load() == 0 {
		return nil, 0
	}
	digest := DigestKey(apiKey)
	place := digest.place()
	b = l.keyed.find(l.secret.hash(place), place)
	if b == nil || !b.account.named.Load().keys.has(digest) {
		return nil, 0
	}
	return b, place.hi
}

func (l *Limiter) identify(a address) Client {
	if a == (address{}) { // unknown
		return Client{}
	}
	hash := l.secret.hash(a)
	if b := l.exact.find(hash, a); b != nil {
		return Client{address: a, bucket: b}
	}
	if network := l.network(a); network != a {
		hash = l.secret.hash(network)
	}
	for ranges := l.ranges.Load(); ranges.Size() > 0; ranges = l.ranges.Load() {
		first, ok := ranges.Lookup(a.addr())
		if !ok {
			break
		}
		if b := first.current(); b != nil { // else deleted, and no longer in the next table
			return Client{address: a, bucket: b, hash: hash}
		}
	}
	return Client{address: a, hash: hash}
}

// Admit decides a request of the client and overwrites d. An admitted request is in flight until
// its lease is released, which must happen exactly once. The lease of a rejected request, or of an
// unregistered client without Default.MaxInFlight, is the zero value.
//
// The time should carry a monotonic reading, or else steps of the wall clock give and take tokens.
// Requests may come in any order of their times; one that is earlier than others finds less
// refilled.
func (l *Limiter) Admit(c Client, now time.Time, d *Decision) Lease {
	return l.admit(c, l.since(now), d)
}

func (l *Limiter) admit(c Client, now int64, d *Decision) Lease {
	var in *account
	for c.bucket != nil {
		if c.bucket.plan.each {
			if lease, open := l.admitEach(&c, &in, now, d); open {
				return lease
			}
		} else if c.bucket.admit(&c, &in, now, d) {
			return l.settle(&c, now, d)
		}
		if !l.follow(&c) {
			in.abandon()
			in = nil
		}
	}
	return l.admitUnregistered(&c, now, d)
}

// follow goes on from a closed bucket to the next. If the client was deleted since Identify, or has
// lost the key, follow identifies it by its address and returns false.
func (l *Limiter) follow(c *Client) bool {
	next := c.bucket.next.Load()
	if next == nil || !next.account.has(c.hash) {
		*c = l.identify(c.address)
		return false
	}
	c.bucket = next
	return true
}

// settle records a rejection of a registered client, and returns the lease of an admitted request.
func (l *Limiter) settle(c *Client, now int64, d *Decision) Lease {
	a := c.bucket.account
	if d.Exceeded != Nothing && d.Exceeded != Blocked {
		l.rejected.addRegistered(l, c.address, a.named.Load(), now)
	}
	if !d.Allowed {
		return Lease{}
	}
	return Lease{account: a, shadowed: d.Exceeded != Nothing}
}

func (l *Limiter) admitUnregistered(c *Client, now int64, d *Decision) Lease {
	key := key(c.hash)
	lease, ok := l.underWay.enter(key, l.underWay.most.Load())
	if ok {
		l.takeUnregistered(key, c, now, d)
	} else {
		l.anonymous.Load().refuse(key, now, d)
	}
	if d.Exceeded != Nothing {
		l.rejected.add(key, l.network(c.address), nil, now)
	}
	if !d.Allowed {
		lease.Release()
		return Lease{}
	}
	return lease
}

// takeUnregistered decides a request by the bucket of an unregistered client.
func (l *Limiter) takeUnregistered(key uint64, c *Client, now int64, d *Decision) {
	for t := l.anonymous.Load(); ; t = t.next.Load().to {
		if f := t.floors.Load(); f != nil {
			t.raiseToFloor(f, c, now)
		}
		o, here := t.decide(c, key, now)
		if !here {
			continue
		}
		t.rates.describe(o, d)
		d.Shadow = t.shadow.Load()
		if !o.allowed {
			d.exceed(Rate)
		}
		return
	}
}

// network returns the address that identifies an unregistered client: the IPv4 address, also if it
// was translated to IPv6, or the IPv6 network.
func (l *Limiter) network(a address) address {
	if a.is4() {
		return a
	}
	if ipv4, ok := a.translated(); ok {
		return ipv4
	}
	return address{a.hi & l.networkHi, a.lo & l.networkLo}
}

// key returns the key of an unregistered client: the hash of its IPv4 address or IPv6 network,
// adjusted to be neither 0 nor sealed. The probability that any two of a million clients share a
// key is 3 in 100 million.
func key(hash uint64) uint64 {
	return min(max(1, hash), sealed-1)
}

// since returns the moment of t in nanoseconds since base, at least 1. All buckets were full
// before.
func (l *Limiter) since(t time.Time) int64 {
	return max(1, t.Sub(l.base).Nanoseconds())
}

// Registered returns the number of registered clients.
func (l *Limiter) Registered() int {
	return int(l.exact.size.Load()+l.names.size.Load()) + l.ranges.Load().Size()
}

// Overflowed returns the number of requests decided by a bucket that clients share, since the start of
// the process, because clients in debt held all places: of unregistered clients, and of addresses of
// ranges with Terms.Each.
func (l *Limiter) Overflowed() int64 { return l.anonymous.Load().overflowed.Load() }

// Tracked returns the number of unregistered clients, and of addresses of ranges with Terms.Each, that
// have a bucket of their own: at most Config.MaxTracked in all. Some of these buckets may be full and
// about to be dropped.
func (l *Limiter) Tracked() int {
	return int(l.anonymous.Load().tracked.Load())
}
