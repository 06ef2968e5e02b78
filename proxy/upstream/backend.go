package upstream

import (
	"sync/atomic"
	"time"

	"loadbalancer/healthz"
	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
)

// Backend is one server of a pool. Pool.Pick gives it out. It is safe for concurrent use, and lives
// on until its last request has ended, even if the pool's config no longer has it.
type Backend struct {
	url       URL
	weight    int       // guarded by the pool's marking
	returned  time.Time // when it took requests again; zero: that is long ago. Guarded by marking
	hash      uint64    // for balance.IPHash
	hostField []byte
	labels    string // in metrics

	conns     conns
	state     atomic.Uint32                   // a State; see Pool.Mark
	takes     atomic.Bool                     // it takes requests: see available
	lastTrial atomic.Int64                    // the pool's time; 0: never
	verdict   atomic.Pointer[healthz.Verdict] // of its latest check; nil: none has ended

	_        [64]byte // the fields below change with every request
	inFlight atomic.Int64
	outlier  outlier
	codes    metrics.Codes
	errors   [reason.Count]atomic.Uint64 // attempts that failed
	duration metrics.Histogram           // from the request, once it was sent, to the response's header
}

// newBackend returns a backend. labels are those of its pool in metrics.
func newBackend(url URL, labels string) *Backend {
	b := &Backend{url: url, labels: labels + "," + metrics.Label("backend", url.address), hash: balance.StringKey(url.text), hostField: []byte(url.host)}
	b.conns.init(url)
	return b
}

// configure sets what a reload may change. It is called while the pool is marking.
func (b *Backend) configure(c BackendConfig, connect time.Duration) {
	b.weight = c.Weight
	b.conns.configure(c.MaxConnections, connect)
}

// Name returns the backend's address, which names it in metrics and in the access log.
func (b *Backend) Name() string { return b.url.address }

// HostField returns the Host of requests that came without one. The caller must not change it.
func (b *Backend) HostField() []byte { return b.hostField }

// TakesRequests reports whether the backend is sent requests. One that is picked and takes none is on
// trial.
func (b *Backend) TakesRequests() bool { return b.takes.Load() }

// IsOut reports whether the backend takes no requests because it was found not to work. Requests that
// wait there move to another: see Pool.Mark.
func (b *Backend) IsOut() bool {
	return !b.TakesRequests() && State(b.state.Load())&foundOut != 0
}

// isIn reports whether the backend has no reason to take no requests.
func (b *Backend) isIn() bool { return b.state.Load() == 0 }

// Begin counts an attempt as in flight at the backend, until End is called.
func (b *Backend) Begin() { b.inFlight.Add(1) }

// Await notes that a request of the client has been sent to the backend and waits for the response's
// header, until HeaderCame or End is called. It is not called for a body that is still being sent:
// the client decides how long that takes.
func (b *Backend) Await(client uint64) { b.outlier.wait(client) }

// HeaderCame notes that the header has come for which Await was called with the client.
func (b *Backend) HeaderCame(client uint64) { b.outlier.headerCame(client) }

// Heard notes another sign of life: the header of a response that was not awaited, an interim
// response, or a part of a body that came late.
func (b *Backend) Heard() { b.outlier.heard() }

// End ends what Begin began. awaited reports whether Await was called with the client, and not
// HeaderCame.
func (b *Backend) End(awaited bool, client uint64) {
	if awaited {
		b.outlier.noHeader(client)
	}
	b.inFlight.Add(-1)
}

// Connect takes an idle connection, or dials within the pool's connect timeout. If fresh is true it
// always dials, so that the keep-alive race cannot be lost again. The caller owns the connection
// until it calls Release or Discard. ConnectReason tells what an error means.
func (b *Backend) Connect(fresh bool) (*Conn, error) { return b.conns.take(fresh) }

// CloseIdle closes the idle connections. Those in use stay open.
func (b *Backend) CloseIdle() { b.conns.closeIdle() }

// count counts an attempt by the status that the backend sent or, if it sent none (0), by the
// status of the failure. waited is the time from the request, once it was sent, to the response's
// header, or 0.
func (b *Backend) count(status int, why reason.Code, waited time.Duration) {
	if ofBackend(why) {
		b.errors[why.CountedAs()].Add(1)
	}
	if waited > 0 {
		b.duration.Observe(waited)
	}
	if status == 0 {
		status = why.Status()
	}
	if why != reason.Overloaded { // otherwise the backend was not asked
		b.codes.Add(status)
	}
}

// ofBackend reports whether an attempt with this reason has failed because of the backend, and not
// because of the client or the balancer.
func ofBackend(why reason.Code) bool {
	switch why {
	case reason.Overloaded, reason.ConnectFailed, reason.ConnectTimeout, reason.ResponseTimeout,
		reason.BackendOut, reason.BadResponse, reason.BackendReset, reason.BackendAborted:
		return true
	}
	return false
}
