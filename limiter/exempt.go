package limiter

import "time"

// AdmitExempt is Admit for a request that takes no token. It is rejected if the client is blocked. The bound on requests in flight applies,
// and the request is in flight until the lease is released; but it is not counted, not shown to a
// trial, and does not change Usage.LastSeen. Of an unregistered client nothing is recorded. Only
// Allowed, Exceeded and RetryAfter of the decision are set; the other fields are 0.
func (l *Limiter) AdmitExempt(c Client, now time.Time, d *Decision) Lease {
	return l.admitExempt(c, l.since(now), d)
}

func (l *Limiter) admitExempt(c Client, now int64, d *Decision) Lease {
	*d = Decision{Allowed: true}
	for c.bucket != nil {
		if lease, open := c.bucket.admitExempt(now, d); open {
			if c.bucket.plan.each {
				l.boundEach(&c, &lease, d)
			}
			if d.Exceeded == InFlight {
				l.rejected.addRegistered(l, c.address, c.bucket.account.named.Load(), now)
			}
			return lease
		}
		l.follow(&c)
	}
	lease, ok := l.underWay.enter(key(c.hash), l.underWay.most.Load())
	if !ok && !l.anonymous.Load().shadow.Load() {
		d.Allowed, d.Exceeded, d.RetryAfter = false, InFlight, untilOneEnds
		l.rejected.add(key(c.hash), l.network(c.address), nil, now)
	}
	return lease
}

// admitExempt is admit without a token. It returns false if the bucket is closed.
func (b *bucket) admitExempt(now int64, d *Decision) (s Lease, open bool) {
	if b.plan.terms.Blocked {
		return Lease{}, b.block(now, d)
	}
	switch b.enter() {
	case moved:
		return Lease{}, false
	case entered:
		b.account.uncounted.Add(1)
		return Lease{account: b.account}, true
	}
	if b.plan.terms.Shadow {
		b.account.extra.Load().shadowInFlight.Add(1)
		return Lease{account: b.account, shadowed: true}, true
	}
	d.Allowed, d.Exceeded, d.RetryAfter = false, InFlight, untilOneEnds
	return Lease{}, true
}
