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
	weight    int       // that counts; guarded by the pool's marking
	ofConfig  int       // the weight in the config; guarded by marking
	hand      Setting   // guarded by marking
	rank      int       // see place; guarded by marking
	returned  time.Time // when it took requests again; zero: that is long ago. Guarded by marking
	since     time.Time // when its state changed last; guarded by marking
	ejectedBy string    // the cause of its last ejection; guarded by marking
	hash      uint64    // for policies that go by keys
	hostField []byte
	labels    string          // in metrics
	again     chan<- struct{} // asks for another look-up of its name; nil: it has none

	conns     conns
	state     atomic.Uint32                   // a State; see Pool.Mark
	takes     atomic.Bool                     // it takes requests: see available
	lastTrial atomic.Int64                    // the pool's time; 0: never
	verdict   atomic.Pointer[healthz.Verdict] // of its latest check; nil: none has ended

	cookie atomic.Pointer[cookie] // nil: clients are not kept at their backends

	_        [64]byte // the fields below change with every request
	load     balance.Load
	pending  slots // of requests that wait for a response's header; not counted without a bound
	outlier  outlier
	codes    metrics.Codes
	errors   [reason.Count]atomic.Uint64 // attempts that failed
	duration metrics.Histogram           // from the request, once it was sent, to the response's header
}

// newBackend returns a backend. labels are those of its pool in metrics.
func newBackend(url URL, labels string) *Backend {
	b := &Backend{url: url, since: time.Now(), labels: labels + "," + metrics.Label("backend", url.name()), hash: balance.StringKey(url.text), hostField: []byte(url.host)}
	b.conns.init(url)
	return b
}

// configure sets what a reload or a look-up may change. by are the credentials that go with the
// pool's config. It is called while the pool is marking.
func (b *Backend) configure(at place, pool *PoolConfig, by *credentials) {
	b.ofConfig, b.rank = at.Weight, at.rank
	b.weight = b.hand.weight(at.Weight)
	b.cookie.Store(pool.Sticky.newCookie(b.url))
	b.pending.limit(at.MaxPending)
	b.conns.configure(at.MaxConnections, int(pool.MaxResponseHeader), pool.Timeouts, by)
}

// lookAgain has the backend's name be looked up at once: it may have moved.
func (b *Backend) lookAgain() {
	select {
	case b.again <- struct{}{}:
	default: // it has no name, or that was asked already
	}
}

// Name returns what names the backend in metrics and in the access log: its address or, of one that
// speaks TLS, its URL.
func (b *Backend) Name() string { return b.url.name() }

// HostField returns the Host of requests that came without one. The caller must not change it.
func (b *Backend) HostField() []byte { return b.hostField }

// AppendCookie appends a Set-Cookie field that keeps the client at the backend, if the pool keeps
// clients. A client whose cookie names the backend needs none, unless its time begins anew. secure
// is for clients that speak TLS.
func (b *Backend) AppendCookie(dst []byte, known, secure bool) []byte {
	c := b.cookie.Load()
	if c == nil || known && !c.renew {
		return dst
	}
	dst = append(dst, c.field...)
	if secure {
		dst = append(dst, "; Secure"...)
	}
	return append(dst, "\r\n"...)
}

// TakesRequests reports whether the backend is sent requests.
func (b *Backend) TakesRequests() bool { return b.takes.Load() }

// become sets the state. It is called while the pool is marking.
func (b *Backend) become(s State) {
	if State(b.state.Swap(uint32(s))) != s {
		b.since = time.Now()
	}
}

// IsOut reports whether the backend takes no requests because it was found not to work. Requests
// that wait there move to another: see Pool.Mark.
func (b *Backend) IsOut() bool {
	return !b.TakesRequests() && State(b.state.Load())&foundOut != 0
}

// isIn reports whether the backend has no reason to take no requests.
func (b *Backend) isIn() bool { return b.state.Load() == 0 }

// Begin counts an attempt as in flight at the backend, until End is called.
func (b *Backend) Begin() { b.load.InFlight.Add(1) }

// Await notes that a request of the client has been sent to the backend and waits for the
// response's header, until HeaderCame or End is called. It is not called for a body that is still
// being sent: the client decides how long that takes.
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
	b.load.InFlight.Add(-1)
}

// Reserve takes a place among the requests that wait for a response's header, if those are bounded,
// until Unreserve. ok is false if no place is left. A request that streams its body takes none, as
// its client decides how long that lasts, but it needs one to be free.
func (b *Backend) Reserve(streams bool) (taken, ok bool) {
	switch {
	case b.pending.most.Load() == 0:
		return false, true
	case streams:
		return false, !b.pending.full()
	}
	ok = b.pending.take()
	return ok, ok
}

// reach reports whether the backend accepts connections.
func (b *Backend) reach() error {
	conn, err := b.conns.establish(b.conns.idle.Load())
	if err != nil {
		return err
	}
	return conn.Conn.Close() // it is none of those of conns
}

// Unreserve gives back a place that Reserve has taken.
func (b *Backend) Unreserve() { b.pending.free() }

// full reports whether the backend has no connection left for another request, or too many wait
// there.
func (b *Backend) full() bool { return b.conns.full() || b.pending.full() }

// isBounded reports whether the requests that the backend may have are bounded.
func (b *Backend) isBounded() bool {
	return b.conns.slots.most.Load() > 0 || b.pending.most.Load() > 0
}

// Connect takes a connection that was not idle for longer than timeouts.idle now, or dials within
// the pool's connect timeout. If fresh is true it always dials, so that the keep-alive race cannot
// be lost again. The caller owns the connection until it calls Release or Discard. ConnectReason
// tells what an error means.
func (b *Backend) Connect(now time.Time, fresh bool) (*Conn, error) { return b.conns.take(now, fresh) }

// TakePrivate returns a private connection, which is in use then, or nil if it is not one to this
// backend or was closed.
func (b *Backend) TakePrivate(o *Private) *Conn { return o.take(&b.conns) }

// CloseIdle closes the idle connections. Those in use, and private ones, stay open, and so do those
// that serve several requests at once.
func (b *Backend) CloseIdle() { b.conns.closeIdle() }

// SpeaksHTTP2 reports whether the connections to the backend are shared, in HTTP/2: those of Connect
// have a Stream.
func (b *Backend) SpeaksHTTP2() bool { return b.url.http2 }

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
