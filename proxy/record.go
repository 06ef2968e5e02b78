package proxy

import (
	"time"

	"loadbalancer/proxy/reason"
)

// record counts the exchange and writes its access log line.
func (p *Proxy) record(x *exchange) {
	code := x.status
	if code == 0 {
		code = x.reason.Status()
	}
	now := time.Now()
	x.client.lastUse = now
	if x.finished.IsZero() {
		x.finished = now // no step has set it
	}
	p.countRequest(x, code)
	if x.reason != reason.None {
		p.count(x.reason)
	}
	shadowed := x.shadowed()
	if shadowed != reason.None {
		p.shadowLimited.Add(1)
	}
	if p.access.holds(code, x.reason, shadowed) {
		p.access.request(x, code)
	}
}

// countRequest counts the exchange by its status. API calls have their own counter: they are not
// traffic.
func (p *Proxy) countRequest(x *exchange, code int) {
	if x.api {
		p.api.Count(code)
		return
	}
	m := p.noPool
	if x.pool != nil {
		m = x.pool.Requests()
	}
	m.Count(code, x.finished.Sub(x.started))
}

// count adds one to lb_errors_total.
func (p *Proxy) count(why reason.Code) {
	p.errors[why.CountedAs()].Add(1)
}
