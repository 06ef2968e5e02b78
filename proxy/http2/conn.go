package http2

import (
	"context"
	"net"
	"net/http"
	"sync"

	"loadbalancer/proxy/ends"
)

// clientConn is a client's connection as net/http has it.
type clientConn struct {
	ends.Conn
	closed chan struct{} // closed by Close
	once   sync.Once
}

// Close closes the connection.
func (c *clientConn) Close() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
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
		conn.(*clientConn).SetIdle(false)
	case http.StateIdle:
		conn.(*clientConn).SetIdle(true)
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
