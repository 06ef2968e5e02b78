package proxy

import (
	"bytes"

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

// holds reports whether the log has a line for a request that ended so.
func (a Access) holds(code int, why, shadowed reason) bool {
	return a == AccessAll || a == AccessErrors && (why != none || shadowed != none || code >= 500)
}

// logAccess writes the exchange's line of the access log, without the fields that
// nothing fills.
func (p *Proxy) logAccess(x *exchange, code int) {
	r := &x.request
	var text [64]byte // more than an address takes
	address := x.addr.AppendTo(text[:0])
	e := p.accessLog.WithLevel(accessLevel(code, x.reason)).Bytes("client", address).Bytes("address", address)
	addPresent(e, "method", r.method)
	addPresent(e, "host", r.authority)
	addPresent(e, "path", r.path())
	addPresent(e, "proto", r.proto)
	if code != 0 {
		e.Int("status", code)
	}
	if x.reason != none {
		e.Str("reason", x.reason.String())
	}
	if x.pool != nil {
		e.Str("pool", x.pool.name)
	}
	if x.backend != nil {
		e.Str("backend", x.backend.name)
	}
	e.Float64("duration_ms", float64(x.finished.Sub(x.started).Microseconds())/1000).
		Int64("bytes_in", x.received+r.body.data).
		Int64("bytes_out", x.sent)
	if shadowed := x.shadowed(); shadowed != none {
		e.Str("shadow", shadowed.String())
	}
	e.Msg("request")
}

// accessLevel is error for a failure of a backend or of the load balancer, even if a
// good status had been sent by then.
func accessLevel(code int, why reason) zerolog.Level {
	if code >= 500 || why.Status() >= 500 || why == backendAborted {
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}

func addPresent(e *zerolog.Event, name string, value []byte) {
	if len(value) > 0 {
		e.Bytes(name, value)
	}
}

// path is the target without its query, which may hold secrets. A target that is no
// path was refused, and may hold a password: it has none.
func (r *request) path() []byte {
	if len(r.target) == 0 || r.target[0] != '/' && r.target[0] != '*' {
		return nil
	}
	if query := bytes.IndexByte(r.target, '?'); query >= 0 {
		return r.target[:query]
	}
	return r.target
}
