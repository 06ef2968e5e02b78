package upstream

import (
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/mux"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// conns are the connections to one backend: a stack of idle ones, and those in use. No more are
// open than there are slots: a request takes a slot first, then an idle connection, and dials only
// where there is none. It is safe for concurrent use. Of fasthttp's client only the stack is used.
type conns struct {
	url     URL
	idle    atomic.Pointer[stack]
	timeout atomic.Int64 // of a dial, in nanoseconds
	slots   slots        // of connections that are in use, being dialed, or private
	retired atomic.Bool  // no connection is kept any more
	drained atomic.Bool  // no connection is kept for now

	mu   sync.Mutex
	open map[*Conn]struct{} // guarded by mu

	shared *shared // nil: the backend speaks HTTP/1, and a connection serves one request at a time
}

// stack holds idle connections that were made in one way, for a time that never changes: fasthttp
// reads it without a lock.
type stack struct {
	fasthttp.HostClient
	keep time.Duration // 0: none is kept
	tls  *tlsClient    // nil: they are in the clear
}

// init sets up the connections to a URL.
func (s *conns) init(url URL) {
	s.url = url
	s.open = make(map[*Conn]struct{})
	if url.http2 {
		s.shared = &shared{of: s}
	}
}

// newStack returns a stack that closes the connections which nothing has used for keep.
func (s *conns) newStack(keep time.Duration, client *tlsClient) *stack {
	of := &stack{keep: keep, tls: client}
	of.Addr = s.url.address
	of.MaxConns = math.MaxInt32 // slots bound them
	of.MaxIdleConnDuration = keep
	of.ConnPoolStrategy = fasthttp.LIFO // the connection used last is the least likely to be stale
	of.Dial = func(string) (net.Conn, error) { return s.dial(of) }
	return of
}

// dial makes a connection, and adds it to those that are open.
func (s *conns) dial(home *stack) (net.Conn, error) {
	c, err := s.establish(home)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	return c, nil
}

// establish makes a connection, with its TLS handshake, within the timeout.
func (s *conns) establish(home *stack) (*Conn, error) {
	by := time.Now().Add(time.Duration(s.timeout.Load()))
	dialer := net.Dialer{Deadline: by}
	conn, err := dialer.Dial(s.url.network, s.url.address)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: wire.Over(conn), pool: s, home: home}
	if home.tls != nil {
		if err := home.tls.secure(&c.Conn, by); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return c, nil
}

// recall interrupts the requests that wait for the first byte of a response, and may be sent to
// another backend.
func (s *conns) recall() {
	if s.shared != nil {
		s.shared.recall()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Recall()
	}
}

// configure allows at most this many connections, or any number if most is 0, each made within the
// timeout by these credentials and kept for a time while it is unused. If fewer are allowed than
// before, or those that are idle were to be kept for another time or were made by other credentials,
// the idle ones are closed at once, and others that are too many or differ when they are given back.
func (s *conns) configure(most, maxHeader int, timeouts TimeoutConfig, by *credentials) {
	keep := timeouts.Idle
	s.timeout.Store(int64(timeouts.Connect))
	fewer := s.slots.limit(most)
	before := s.idle.Load()
	same := before != nil && before.keep == keep && before.madeBy(by)
	if !same {
		s.idle.Store(s.newStack(keep, newTLSClient(s.url, by)))
	}
	if before != nil && (!same || fewer) {
		before.CloseIdleConnections()
	}
	if s.shared != nil {
		s.shared.configure(int64(maxHeader), !same || fewer && s.slots.over())
	}
}

// madeBy reports whether connections by these credentials can be in the stack.
func (s *stack) madeBy(c *credentials) bool { return s.tls == nil || s.tls.credentials == c }

// retire closes the idle connections, and those in use once they are given back.
func (s *conns) retire() {
	s.retired.Store(true)
	s.closeUnused()
}

// drain closes the idle connections, and those in use once they are given back, until it is called
// with false.
func (s *conns) drain(on bool) {
	if was := s.drained.Swap(on); on && !was {
		s.closeUnused()
	}
}

// take is Backend.Connect.
func (s *conns) take(now time.Time, fresh bool) (*Conn, error) {
	if s.shared != nil {
		return s.shared.take()
	}
	if !s.slots.take() {
		return nil, errConnections
	}
	c, err := s.acquire(now, fresh)
	if err != nil {
		s.slots.free()
	}
	return c, err
}

// acquire takes an idle connection or dials.
func (s *conns) acquire(now time.Time, fresh bool) (*Conn, error) {
	for {
		home := s.idle.Load()
		pooled, err := home.AcquireConn(0, false)
		if err != nil {
			return nil, err
		}
		c := pooled.Conn().(*Conn)
		if c.release == nil { // newly dialed
			// fasthttp's handle of the connection has a type without a name, so closures keep it.
			c.release = func() { home.ReleaseConn(pooled) }
			c.discard = func() { home.CloseConn(pooled) }
			return c, nil
		}
		if !fresh && now.Sub(pooled.LastUseTime()) < keepFor(home.keep, c.said) && c.Quiet() {
			return c, nil
		}
		c.discard()
	}
}

// spare is how much earlier than its backend the balancer closes an unused connection: a request
// that is sent as the backend closes it would be lost.
const spare = time.Second

// keepFor returns how long an unused connection is kept: for the pool's timeouts.idle, but not as
// long as its backend says that it keeps it. said is 0 where the backend does not say.
func keepFor(most, said time.Duration) time.Duration {
	if said > 0 {
		return min(most, said-spare)
	}
	return most
}

// closeIdle is Backend.CloseIdle.
func (s *conns) closeIdle() { s.idle.Load().CloseIdleConnections() }

// closeUnused closes the connections that are not in use, private ones among them.
func (s *conns) closeUnused() {
	if s.shared != nil {
		s.shared.retire()
		return
	}
	s.closeIdle()
	s.endPrivate()
}

// full reports whether a request would find neither a connection nor room for one.
func (s *conns) full() bool {
	return s.slots.full() && (s.shared == nil || !s.shared.hasRoom())
}

// ErrPending is for a backend at which as many requests wait as may: see Backend.Reserve.
var ErrPending = errors.New("the backend has as many requests waiting for a response as its max_pending allows")

var errConnections = errors.New("the backend has as many connections as its max_connections allows")

// ConnectReason returns the reason for an error of Backend.Connect: Overloaded (the backend was not
// asked, because it has as many connections as it may have, or requests that wait), ConnectTimeout
// or ConnectFailed.
func ConnectReason(err error) reason.Code {
	switch {
	case errors.Is(err, errConnections), errors.Is(err, errStreams), errors.Is(err, ErrPending):
		return reason.Overloaded
	case wire.TimedOut(err):
		return reason.ConnectTimeout
	}
	return reason.ConnectFailed
}

// Conn is a connection to a backend, from Backend.Connect. One exchange at a time owns it, and
// gives it back with one call of either Release or Discard.
type Conn struct {
	wire.Conn
	Stream  *mux.Stream // of a connection that serves others as well; nil: wire.Conn is all the request's
	pool    *conns
	home    *stack
	said    time.Duration // see Release
	private atomic.Pointer[Private]
	reused  bool
	release func()
	discard func()
}

// Reused reports whether an earlier exchange has ended on the connection, so that the backend may
// be about to close it.
func (c *Conn) Reused() bool { return c.reused }

// Recall interrupts the wait for the first byte of the response, if it allows that.
func (c *Conn) Recall() {
	if c.Stream != nil {
		c.Stream.Recall()
	} else {
		c.Conn.Recall()
	}
}

// Release makes the connection idle, or closes it where it would not be used again or there are too
// many. It must be at the start of a next request. said is how long its backend says that it keeps
// it, or 0.
func (c *Conn) Release(said time.Duration) {
	if c.Stream != nil {
		return // its end was that of the use
	}
	s := c.pool
	if keepFor(c.home.keep, said) <= 0 || c.home != s.idle.Load() || s.slots.over() {
		c.Discard()
		return
	}
	c.reused, c.said = true, said
	c.release()
	if s.retired.Load() || s.drained.Load() || c.home != s.idle.Load() || s.slots.over() { // since just now
		c.home.CloseIdleConnections()
	}
	s.slots.free() // once it can be taken: until then there is no place for another
}

// Close is how fasthttp closes the connection.
func (c *Conn) Close() error {
	c.pool.mu.Lock()
	delete(c.pool.open, c)
	c.pool.mu.Unlock()
	return c.Conn.Close()
}

// Discard closes the connection.
func (c *Conn) Discard() {
	if c.Stream != nil {
		c.Stream.End()
		return
	}
	c.discard()
	c.pool.slots.free()
}
