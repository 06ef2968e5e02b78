package limiter

import "time"

// AdmitExempt is Admit for a request that takes no token. What bounds the requests under way holds,
// and the request is one of them until the lease is released; but it is neither counted nor shown to
// a trial, and it does not count as seen. Nothing is remembered of a client that nobody registered.
// Of the decision, Allowed, Exceeded and RetryAfter are filled in: it is about no bucket.
func (l *Limiter) AdmitExempt(c Client, now time.Time, d *Decision) Lease {
	return l.admitExempt(c, l.since(now), d)
}

func (l *Limiter) admitExempt(c Client, now int64, d *Decision) Lease {
	*d = Decision{Allowed: true}
	for c.bucket != nil {
		if lease, open := c.bucket.admitExempt(d); open {
			if !d.Allowed {
				l.rejected.addRegistered(l, c.address, c.bucket.account.named.Load(), now)
			}
			return lease
		}
		if c.bucket = c.bucket.next.Load(); c.bucket == nil { // deleted after Identify
			c = l.identify(c.address)
		}
	}
	return Lease{}
}

// admitExempt is admit without a token. It returns false if the bucket is closed.
func (b *bucket) admitExempt(d *Decision) (s Lease, open bool) {
	switch b.enter() {
	case moved:
		return Lease{}, false
	case entered:
		b.account.uncounted.Add(1)
		return Lease{account: b.account}, true
	}
	if b.plan.terms.Shadow {
		b.account.shadowInFlight.Add(1)
		return Lease{account: b.account, shadowed: true}, true
	}
	d.Allowed, d.Exceeded, d.RetryAfter = false, InFlight, untilOneEnds
	return Lease{}, true
}
