package proxy

import "time"

// record counts the exchange and writes its line of the access log.
func (p *Proxy) record(x *exchange) {
	code := x.status
	if code == 0 {
		code = reasonTable[x.reason].status
	}
	m := p.noPool
	if x.pool != nil {
		m = x.pool.metrics
	}
	now := time.Now()
	x.client.lastUse = now
	if x.finished.IsZero() {
		x.finished = now // however it ended
	}
	m.codes.add(code)
	m.duration.observe(x.finished.Sub(x.started))
	if x.reason != none {
		p.count(x.reason)
	}
	shadowed := x.shadowed()
	if shadowed != none {
		p.shadowLimited.Add(1)
	}
	if p.access.holds(code, x.reason, shadowed) {
		p.logAccess(x, code)
	}
}

// count adds one to lb_errors_total.
func (p *Proxy) count(why reason) {
	p.errors[countedAs[why]].Add(1)
}
