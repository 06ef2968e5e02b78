package limiter

import (
	"net/netip"
	"time"
)

// Standing is what the limiter would go by for a request.
type Standing struct {
	ID       ID      // of the registered client; the zero value: the default limit counts
	ByKey    bool    // the client was found by its API key
	Terms    Terms   // with the limit that counts
	Tokens   float64 // in the bucket now; with Terms.Each, in that of the address
	InFlight int64   // requests in flight; for the default limit and with Terms.Each, 0 unless they are bounded
	Shared   bool    // the limit holds over several instances, and Tokens are what this one knows
}

// Standing returns what would count for a request of this address and API key, without counting
// one. It waits for changes that are under way.
func (l *Limiter) Standing(addr netip.Addr, apiKey []byte) Standing {
	s := l.standing(addr, apiKey)
	s.Shared = l.share != nil && !s.Terms.Shadow
	return s
}

func (l *Limiter) standing(addr netip.Addr, apiKey []byte) Standing {
	now := l.since(time.Now())
	c := l.Identify(addr, apiKey)
	if c.bucket != nil {
		id := c.bucket.account.id(c.address)
		if u, ok := l.usage(id, now); ok {
			s := Standing{ID: id, ByKey: id.Name != "", Terms: l.terms(id), Tokens: u.Tokens, InFlight: u.InFlight}
			if s.Terms.Each {
				s.Tokens, s.InFlight = l.standingEach(id, key(c.hash), now)
			}
			return s
		}
		c = l.identify(c.address) // deleted since
	}

	l.registering.Lock() // no change of the default is under way
	defer l.registering.Unlock()
	t := l.anonymous.Load()
	r := &t.rates
	return Standing{
		Terms:  Terms{Limit: r.limit(), MaxInFlight: l.underWay.most.Load(), Shadow: t.shadow.Load()},
		Tokens: r.tokens(t.peek(key(c.hash)), now), InFlight: l.underWay.of(key(c.hash)),
	}
}

// standingEach returns the tokens and the requests in flight of an address in a range with Terms.Each.
func (l *Limiter) standingEach(id ID, key uint64, now int64) (tokens float64, inFlight int64) {
	l.registering.Lock()
	defer l.registering.Unlock()
	b := l.current(canonical(id))
	if b == nil || !b.plan.terms.Each { // changed since
		return 0, 0
	}
	t := b.account.extra.Load().table.Load()
	return t.rates.tokens(t.peek(key), now), l.underWay.of(key)
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
