package proxy

// admit asks the client's token bucket for a token.
func (p *Proxy) admit(x *exchange) reason {
	if p.limiter == nil {
		return none
	}
	x.decision = p.limiter.Take(p.limiter.Identify(x.addr), x.started)
	x.counted, x.fields = true, p.limiter.Fields()
	if !x.decision.Allowed {
		return limited
	}
	return none
}
