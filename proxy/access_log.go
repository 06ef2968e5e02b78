package proxy

import (
	"errors"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/upstream"
)

// Access says which requests the access log holds.
type Access string

// The values of log.access.
const (
	AccessOff Access = "off"
	// AccessErrors is for requests that no backend answered in full, that were retried, or that
	// only shadow mode let through, and for every 5xx.
	AccessErrors Access = "errors"
	AccessAll    Access = "all"
)

// accessRules say which requests the access log holds, and how much of them.
type accessRules struct {
	which Access
	query bool // the path has its query
}

// accessLog writes lines about requests. It is safe for concurrent use.
type accessLog struct{ log zerolog.Logger }

// newAccessLog returns an access log that writes where log does, whatever its level: an Access
// alone selects the lines.
func newAccessLog(log zerolog.Logger) accessLog {
	return accessLog{log.Level(zerolog.TraceLevel).Sample(nil)}
}

// entry is what a line of the access log is made of.
type entry struct {
	stream   ends.Stream
	query    bool           // the path has its query
	client   limiter.Client // the zero value: no client is limited
	addr     netip.Addr
	id       []byte         // of the request
	pool     *upstream.Pool // nil: none was reached
	tries    *tries         // nil: of a call of the API
	waited   time.Duration  // for the header of the backend's response; 0: there is none
	code     int            // the status, or 0
	reason   reason.Code
	shadowed reason.Code // why only shadow mode let the request through
}

// holds reports whether the log has a line for a request with this result.
func (a Access) holds(code int, why, shadowed reason.Code, retried bool) bool {
	return a == AccessAll || a == AccessErrors && (why != reason.None || shadowed != reason.None || code >= 500 || retried)
}

// request writes the line of a request. Fields without a value are left out.
func (l *accessLog) request(of entry) {
	s := of.stream
	r := &s.Request
	path := r.Path()
	if of.query && path != nil {
		path = r.Target
	}
	e := l.line(level(of.code, of.reason, s.BeingCut()), of.client, of.addr)
	if of := r.Security; of != nil && of.Verified && of.Subject != "" {
		e.Str("client_subject", of.Subject)
	}
	addPresent(e, "method", r.Method)
	addPresent(e, "host", r.Authority)
	addPresent(e, "path", path)
	addPresent(e, "proto", r.Proto)
	addOutcome(e, of.code, of.reason)
	if r.GRPC.Is && s.CallStatus >= 0 {
		e.Int("grpc_status", s.CallStatus)
	}
	e.AnErr("cause", of.cause())
	if of.pool != nil {
		e.Str("pool", of.pool.Name())
	}
	of.addTries(e)
	addSize(e, s.Finished.Sub(s.Started), s.Received(), s.Sent)
	if of.waited > 0 {
		e.Float64("backend_ms", milliseconds(of.waited))
	}
	e.Bytes("request_id", of.id)
	addPresent(e, "user_agent", r.UserAgent())
	if of.shadowed != reason.None {
		e.Str("shadow", of.shadowed.String())
	}
	e.Msg("request")
}

var errCut = errors.New("cut at the end of server.shutdown_timeout")

// cause returns what went wrong, or nil.
func (of *entry) cause() error {
	if of.reason == reason.ClientGone && of.stream.BeingCut() {
		return errCut
	}
	return of.stream.Cause
}

// addTries adds the backend and, if one of them failed, all attempts.
func (of *entry) addTries(e *zerolog.Event) {
	if of.tries == nil || of.tries.backend == nil {
		return
	}
	e.Str("backend", of.tries.backend.Name())
	if of.tries.failed() {
		e.Array("attempts", (*attemptList)(&of.tries.tried))
	}
}

// attemptList is a Tried as a list in the log.
type attemptList upstream.Tried

func (l *attemptList) MarshalZerologArray(a *zerolog.Array) {
	attempts := (*upstream.Tried)(l).Attempts()
	for i := range attempts {
		a.Object((*attemptEntry)(&attempts[i]))
	}
}

// attemptEntry is an Attempt in the log.
type attemptEntry upstream.Attempt

func (a *attemptEntry) MarshalZerologObject(e *zerolog.Event) {
	e.Str("backend", a.Backend.Name())
	if a.Reason != reason.None {
		e.Str("reason", a.Reason.String())
	}
	if a.Status != 0 {
		e.Int("status", a.Status)
	}
	e.Float64("ms", milliseconds(a.Took))
}

// turnedAway writes the line of a connection beyond server.max_connections. No request was read
// from it.
func (l *accessLog) turnedAway(code int, peer netip.Addr, took time.Duration, sent int) {
	e := l.line(level(code, reason.Overloaded, false), limiter.Client{}, peer)
	addOutcome(e, code, reason.Overloaded)
	addSize(e, took, 0, int64(sent))
	e.Msg("request")
}

// line begins a line with the fields that every line has. The client's name is its address unless
// it is registered.
func (l *accessLog) line(level zerolog.Level, client limiter.Client, addr netip.Addr) *zerolog.Event {
	var text [64]byte // more than an address takes
	var named [256]byte
	address := addr.AppendTo(text[:0])
	name := client.AppendName(named[:0])
	if len(name) == 0 {
		name = address
	}
	return l.log.WithLevel(level).Bytes("client", name).Bytes("address", address)
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
	e.Float64("duration_ms", milliseconds(took)).Int64("bytes_in", in).Int64("bytes_out", out)
}

// milliseconds returns a duration in milliseconds, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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
