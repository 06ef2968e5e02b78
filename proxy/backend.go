package proxy

import (
	"context"
	"errors"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/balance"
	"loadbalancer/proxy/metrics"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// backend is one server that requests are sent to. It is safe for concurrent use.
type backend struct {
	url       URL
	pool      *pool
	name      string // as metrics and logs name it
	weight    int
	hash      uint64 // for balance.IPHash
	hostField []byte // for requests without a Host

	idle  fasthttp.HostClient // only its connection pool is used
	state atomic.Uint32       // see pool.mark

	_        [64]byte // the fields below change with every request
	inFlight atomic.Int64
	codes    metrics.Codes
}

// maxIdle is how long an unused connection to a backend is kept.
const maxIdle = 60 * time.Second

func newBackend(p *pool, c BackendConfig, connect time.Duration) *backend {
	b := &backend{url: c.URL, pool: p, name: c.URL.address, weight: c.Weight, hash: balance.StringKey(c.URL.text), hostField: []byte(c.URL.host)}
	dialer := net.Dialer{Timeout: connect}
	b.idle.Addr = c.URL.address
	b.idle.MaxConns = c.MaxConnections
	if c.MaxConnections == 0 {
		b.idle.MaxConns = math.MaxInt32
	}
	b.idle.MaxIdleConnDuration = maxIdle
	b.idle.ConnPoolStrategy = fasthttp.LIFO // the connection used last is the least likely to be stale
	b.idle.Dial = func(string) (net.Conn, error) {
		conn, err := dialer.DialContext(context.Background(), c.URL.network, c.URL.address)
		if err != nil {
			return nil, err
		}
		return &backendConn{Conn: wire.Over(conn)}, nil
	}
	return b
}

// takesRequests reports whether the backend may be sent requests.
func (b *backend) takesRequests() bool { return b.state.Load() == 0 }

// backendConn is a connection to a backend. One exchange at a time owns it.
type backendConn struct {
	wire.Conn
	reused  bool // an earlier exchange ended on it
	release func()
	discard func()
}

// connect takes an idle connection out of the pool, or dials. If fresh is true it always dials, so
// that the keep-alive race cannot be lost again.
func (b *backend) connect(fresh bool) (*backendConn, reason.Code) {
	for {
		pooled, err := b.idle.AcquireConn(0, false)
		if err != nil {
			return nil, connectReason(err)
		}
		c := pooled.Conn().(*backendConn)
		if c.release == nil { // newly dialed; its handle in fasthttp's pool has a type without a name, so closures keep it
			c.release = func() { b.idle.ReleaseConn(pooled) }
			c.discard = func() { b.idle.CloseConn(pooled) }
			return c, reason.None
		}
		if !fresh && c.Quiet() {
			return c, reason.None
		}
		c.discard()
	}
}

// connectReason returns the reason for a failed connect.
func connectReason(err error) reason.Code {
	switch {
	case errors.Is(err, fasthttp.ErrNoFreeConns):
		return reason.Overloaded
	case wire.TimedOut(err):
		return reason.ConnectTimeout
	}
	return reason.ConnectFailed
}

// count counts an attempt by the status that the backend sent or, if it sent none, by the status of
// the failure.
func (b *backend) count(status int, why reason.Code) {
	if status == 0 {
		status = why.Status()
	}
	b.codes.Add(status)
}
