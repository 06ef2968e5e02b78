package proxy

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/proxy/http1"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// Access says which requests the access log holds.
type Access string

// The values of log.access.
const (
	AccessOff Access = "off"
	// AccessErrors is for requests that no backend answered in full, or that only shadow mode let
	// through, and for every 5xx.
	AccessErrors Access = "errors"
	AccessAll    Access = "all"
)

// accessLog writes lines about requests. It is safe for concurrent use.
type accessLog struct{ log zerolog.Logger }

// newAccessLog returns an access log that writes where log does, whatever its level: an Access
// alone selects the lines.
func newAccessLog(log zerolog.Logger) accessLog {
	return accessLog{log.Level(zerolog.TraceLevel).Sample(nil)}
}

// entry is what a line of the access log is made of.
type entry struct {
	stream   *http1.Stream
	client   netip.Addr
	id       []byte            // of the request
	pool     *upstream.Pool    // nil: none was reached
	backend  *upstream.Backend // nil: none was picked
	code     int               // the status, or 0
	reason   reason.Code
	shadowed reason.Code // why only shadow mode let the request through
}

// holds reports whether the log has a line for a request with this result.
func (a Access) holds(code int, why, shadowed reason.Code) bool {
	return a == AccessAll || a == AccessErrors && (why != reason.None || shadowed != reason.None || code >= 500)
}

// request writes the line of a request. Fields without a value are left out.
func (l *accessLog) request(of entry) {
	s := of.stream
	r := &s.Request
	e := l.line(level(of.code, of.reason, s.BeingCut()), of.client)
	addPresent(e, "method", r.Method)
	addPresent(e, "host", r.Authority)
	addPresent(e, "path", r.Path())
	addPresent(e, "proto", r.Proto)
	addOutcome(e, of.code, of.reason)
	if of.pool != nil {
		e.Str("pool", of.pool.Name())
	}
	if of.backend != nil {
		e.Str("backend", of.backend.Name())
	}
	addSize(e, s.Finished.Sub(s.Started), s.Received(), s.Sent)
	e.Bytes("request_id", of.id)
	if of.shadowed != reason.None {
		e.Str("shadow", of.shadowed.String())
	}
	e.Msg("request")
}

// turnedAway writes the line of a connection beyond server.max_connections. No request was read
// from it.
func (l *accessLog) turnedAway(code int, peer netip.Addr, took time.Duration, sent int) {
	e := l.line(level(code, reason.Overloaded, false), peer)
	addOutcome(e, code, reason.Overloaded)
	addSize(e, took, 0, int64(sent))
	e.Msg("request")
}

// line begins a line with the fields that every line has.
func (l *accessLog) line(level zerolog.Level, addr netip.Addr) *zerolog.Event {
	var text [64]byte // more than an address takes
	address := addr.AppendTo(text[:0])
	return l.log.WithLevel(level).Bytes("client", address).Bytes("address", address)
}

func addOutcome(e *zerolog.Event, code int, why reason.Code) {
	if code != 0 {
		e.Int("status", code)
	}
	if why != reason.None {
		e.Str("reason", why.String())
	}
}

func addSize(e *zerolog.Event, took time.Duration, in, out int64) {
	e.Float64("duration_ms", float64(took.Microseconds())/1000).Int64("bytes_in", in).Int64("bytes_out", out)
}

// level returns error for a failure of a backend or of the load balancer, even after a good status
// was sent. It also returns error for requests that shutdown cut: their clients did not leave of
// their own accord.
func level(code int, why reason.Code, cut bool) zerolog.Level {
	if code >= 500 || why.Status() >= 500 || why == reason.BackendAborted || why == reason.ClientGone && cut {
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}

func addPresent(e *zerolog.Event, name string, value []byte) {
	if len(value) > 0 {
		e.Bytes(name, value)
	}
}
