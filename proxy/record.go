package proxy

import (
	"time"

	"github.com/rs/zerolog"
)

// Access says which requests the access log holds.
type Access string

// The values of log.access.
const (
	AccessOff    Access = "off"
	AccessErrors Access = "errors" // those that no backend answered in full or that passed in shadow mode alone, and every 5xx
	AccessAll    Access = "all"
)

// record counts the exchange and writes its line of the access log.
func (p *Proxy) record(x *exchange) {
	code := x.status
	if code == 0 {
		code = reasonTable[x.reason].status
	}
	if x.finished.IsZero() {
		x.finished = x.started
	}
	x.client.lastUse = time.Now() // not finished: the last write, or the rest of the body, may have taken long
	p.countRequest(x, code)
	if x.reason != none {
		p.count(x.reason)
	}
	shadowed := x.shadowed()
	if shadowed != none {
		p.shadowLimited.Add(1)
	}
	if p.access == AccessAll || p.access == AccessErrors && (x.reason != none || shadowed != none || code >= 500) {
		p.logAccess(x, code)
	}
}

// countRequest counts the exchange by its status. Calls of the API have a counter
// of their own: operators' calls are no traffic.
func (p *Proxy) countRequest(x *exchange, code int) {
	if x.api {
		p.apiCodes.add(code)
		return
	}
	m := p.noPool
	if x.pool != nil {
		m = x.pool.metrics
	}
	m.codes.add(code)
	m.duration.observe(x.finished.Sub(x.started))
}

// count adds one to lb_errors_total.
func (p *Proxy) count(why reason) {
	p.errors[countedAs[why]].Add(1)
}

func (p *Proxy) logAccess(x *exchange, code int) {
	level := zerolog.InfoLevel
	if code >= 500 {
		level = zerolog.ErrorLevel
	}
	e := p.log.WithLevel(level).
		Stringer("client", x.addr).
		Bytes("method", x.request.method).
		Bytes("host", x.request.authority).
		Bytes("target", x.request.target).
		Int("status", code).
		Int64("bytes", x.sent).
		Dur("ms", x.finished.Sub(x.started))
	if x.reason != none {
		e.Str("reason", reasonTable[x.reason].code)
	}
	if shadowed := x.shadowed(); shadowed != none {
		e.Str("shadow", reasonTable[shadowed].code)
	}
	if x.pool != nil {
		e.Str("pool", x.pool.name)
	}
	if x.backend != nil {
		e.Str("backend", x.backend.name).Int("attempts", x.tried.n)
	}
	e.Msg("request")
}
