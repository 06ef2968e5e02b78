package upstream

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// maxIdle is how long an unused connection to a backend is kept.
const maxIdle = 60 * time.Second

// conns are the connections to one backend: a stack of idle ones, and a bound on all. It is safe
// for concurrent use. Of fasthttp's client only the connection pool is used.
type conns struct {
	client  fasthttp.HostClient
	timeout atomic.Int64 // of a dial, in nanoseconds
	most    atomic.Int64 // connections
	inUse   atomic.Int64 // connections that are in use or being dialed
	tooMany atomic.Bool  // there may be more, since most was lowered
	retired atomic.Bool  // no connection is kept any more
	drained atomic.Bool  // no connection is kept for now

	mu   sync.Mutex
	open map[*Conn]struct{} // guarded by mu
}

// init sets up the connections to a URL.
func (s *conns) init(url URL) {
	s.open = make(map[*Conn]struct{})
	s.client.Addr = url.address
	s.client.MaxIdleConnDuration = maxIdle
	s.client.ConnPoolStrategy = fasthttp.LIFO // the connection used last is the least likely to be stale
	s.client.Dial = func(string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: time.Duration(s.timeout.Load())}
		conn, err := dialer.DialContext(context.Background(), url.network, url.address)
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: wire.Over(conn), pool: s}
		s.mu.Lock()
		s.open[c] = struct{}{}
		s.mu.Unlock()
		return c, nil
	}
}

// recall interrupts the requests that wait for the first byte of a response, and may be sent to
// another backend.
func (s *conns) recall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Recall()
	}
}

// configure allows at most this many connections, or any number if most is 0, each dialed within
// the timeout. If more are open, idle ones are closed at once, and others when they are given back.
func (s *conns) configure(most int, timeout time.Duration) {
	if most == 0 {
		most = math.MaxInt32
	}
	s.client.SetMaxConns(most)
	s.timeout.Store(int64(timeout))
	s.most.Store(int64(most))
	if s.client.ConnsCount() > most {
		s.closeIdle()
		s.tooMany.Store(true)
	}
}

// reserve takes a place for a connection in use, and reports whether there was one. free gives it
// back.
func (s *conns) reserve() bool {
	if s.inUse.Add(1) <= s.most.Load() {
		return true
	}
	s.free()
	return false
}

func (s *conns) free() { s.inUse.Add(-1) }

// full reports whether as many connections are in use as may be open.
func (s *conns) full() bool { return s.inUse.Load() >= s.most.Load() }

// hasTooMany reports whether more connections are open than are allowed now.
func (s *conns) hasTooMany() bool {
	if !s.tooMany.Load() {
		return false
	}
	s.tooMany.Store(false) // before the look at most, which configure may be lowering again
	has := int64(s.client.ConnsCount()) > s.most.Load()
	if has {
		s.tooMany.Store(true)
	}
	return has
}

// retire closes the idle connections, and those in use once they are given back.
func (s *conns) retire() {
	s.retired.Store(true)
	s.closeIdle()
}

// drain closes the idle connections, and those in use once they are given back, until it is called
// with false.
func (s *conns) drain(on bool) {
	if was := s.drained.Swap(on); on && !was {
		s.closeIdle()
	}
}

// take is Backend.Connect.
func (s *conns) take(fresh bool) (*Conn, error) {
	if !s.reserve() {
		return nil, errConnections
	}
	c, err := s.acquire(fresh)
	if err != nil {
		s.free()
	}
	return c, err
}

// acquire takes an idle connection or dials.
func (s *conns) acquire(fresh bool) (*Conn, error) {
	for {
		pooled, err := s.client.AcquireConn(0, false)
		if err != nil {
			if errors.Is(err, fasthttp.ErrNoFreeConns) {
				err = errConnections
			}
			return nil, err
		}
		c := pooled.Conn().(*Conn)
		if c.release == nil { // newly dialed
			// fasthttp's handle of the connection has a type without a name, so closures keep it.
			c.release = func() { s.client.ReleaseConn(pooled) }
			c.discard = func() { s.client.CloseConn(pooled) }
			return c, nil
		}
		if !fresh && c.Quiet() {
			return c, nil
		}
		c.discard()
	}
}

// closeIdle is Backend.CloseIdle.
func (s *conns) closeIdle() { s.client.CloseIdleConnections() }

var errConnections = errors.New("the backend has as many connections as its max_connections allows")

// ConnectReason returns the reason for an error of Backend.Connect: Overloaded (the backend was not
// asked, because it has as many connections as it may have), ConnectTimeout or ConnectFailed.
func ConnectReason(err error) reason.Code {
	switch {
	case errors.Is(err, errConnections):
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
	pool    *conns
	reused  bool
	release func()
	discard func()
}

// Reused reports whether an earlier exchange has ended on the connection, so that the backend may
// be about to close it.
func (c *Conn) Reused() bool { return c.reused }

// Release makes the connection idle, or closes it where there are too many. It must be at the start
// of a next request.
func (c *Conn) Release() {
	defer c.pool.free()
	if c.pool.hasTooMany() {
		c.discard()
		return
	}
	c.reused = true
	c.release()
	if c.pool.retired.Load() || c.pool.drained.Load() {
		c.pool.closeIdle()
	}
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
	c.discard()
	c.pool.free()
}
