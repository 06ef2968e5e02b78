package http2

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
)

// clientConn is a client's connection as net/http has it.
type clientConn struct {
	ends.Conn
	closed chan struct{} // closed by Close
	once   sync.Once

	handled atomic.Int64 // requests that the handler has
	idle    atomic.Bool  // no stream is open
	stuck   *time.Timer  // closes the connection; nil before the first leave; guarded by mu
	mu      sync.Mutex
}

// enter notes that the handler has a request.
func (c *clientConn) enter() { c.handled.Add(1) }

// leave notes that the handler has returned. The end of the response may still wait for the client,
// in net/http: if the handler has no other request, and the stream is not over after the time, the
// client takes nothing.
func (c *clientConn) leave(patience time.Duration) {
	if c.handled.Add(-1) > 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck == nil {
		c.stuck = time.AfterFunc(patience, c.closeStuck)
	} else {
		c.stuck.Reset(patience)
	}
}

// closeStuck closes the connection, if streams are open of which the handler has none.
func (c *clientConn) closeStuck() {
	if c.handled.Load() == 0 && !c.idle.Load() {
		_ = c.Close()
	}
}

// Close closes the connection.
func (c *clientConn) Close() (err error) {
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stuck != nil {
			c.stuck.Stop()
		}
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
}

// setIdle notes whether no stream is open.
func (c *clientConn) setIdle(idle bool) {
	c.idle.Store(idle)
	c.SetIdle(idle)
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn.(*clientConn))
}

// noteState tells a connection whether it has a stream.
func noteState(conn net.Conn, to http.ConnState) {
	switch to {
	case http.StateActive:
		conn.(*clientConn).setIdle(false)
	case http.StateIdle:
		conn.(*clientConn).setIdle(true)
	}
}

// queue hands connections to net/http, for which it is a listener.
type queue struct {
	conns chan net.Conn
	ended chan struct{} // closed by Close
	once  *sync.Once
}

func newQueue() queue {
	return queue{conns: make(chan net.Conn), ended: make(chan struct{}), once: new(sync.Once)}
}

// give hands over a connection. ok is false after Close.
func (s *server) give(c *clientConn) (ok bool) {
	select {
	case s.queue.conns <- c:
		return true
	case <-s.queue.ended:
		return false
	}
}

// Accept waits for the next connection.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.ended:
		return nil, net.ErrClosed
	}
}

// Close ends the queue. A second call does nothing.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.ended) })
	return nil
}

// Addr is for net/http, which does not use it.
func (*queue) Addr() net.Addr { return &net.TCPAddr{} }
