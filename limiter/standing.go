package limiter

import (
	"net/netip"
	"time"
)

// Standing is what the limiter would go by for a request.
type Standing struct {
	ID       ID      // of the registered client; the zero value: the default limit counts
	ByKey    bool    // the client was found by its API key
	Terms    Terms   // for the default limit, its rate is that of the config only nearly
	Tokens   float64 // in the bucket now
	InFlight int64   // requests in flight; for the default limit, 0 unless they are bounded
}

// Standing returns what would count for a request of this address and API key, without counting
// one. It waits for changes that are under way.
func (l *Limiter) Standing(addr netip.Addr, apiKey []byte) Standing {
	now := l.since(time.Now())
	c := l.Identify(addr, apiKey)
	if c.bucket != nil {
		id := c.bucket.account.id(c.address)
		if u, ok := l.usage(id, now); ok {
			return Standing{ID: id, ByKey: id.Name != "", Terms: l.terms(id), Tokens: u.Tokens, InFlight: u.InFlight}
		}
		c = l.identify(c.address) // deleted since
	}

	l.registering.Lock() // no change of the default is under way
	defer l.registering.Unlock()
	t := l.anonymous.Load()
	r := &t.rates
	limit := Limit{Capacity: r.capacity, RatePerSecond: float64(r.capacity) / r.window.Seconds()}
	return Standing{
		Terms:  Terms{Limit: limit, MaxInFlight: l.underWay.most.Load(), Shadow: t.shadow.Load()},
		Tokens: r.tokens(t.peek(key(c.hash)), now), InFlight: l.underWay.of(key(c.hash)),
	}
}

// id returns the ID of the client, which the address has led to.
func (a *account) id(by address) ID {
	if n := a.named.Load(); n != nil {
		return n.id()
	}
	addr := by.addr()
	return ID{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
}

// terms returns the terms of a registered client, or the zero value.
func (l *Limiter) terms(id ID) Terms {
	l.registering.Lock()
	defer l.registering.Unlock()
	if b := l.current(canonical(id)); b != nil {
		return b.plan.terms
	}
	return Terms{}
}
