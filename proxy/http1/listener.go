package http1

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Front is a listener, and what its connections speak.
type Front struct {
	net.Listener
	TLS    *tls.Config       // nil: they are in the clear
	Handle func(ends.Stream) // as Options.Handle; nil: that one

	// Authorities returns those that sign the certificates that clients have to show, as TLS has them
	// now, or nil if none is asked for. It is called for each request, and returns the same pool until
	// they change. nil: none is asked for.
	Authorities func() *x509.CertPool
}

// listener accepts client connections and tracks those that are open.
type listener struct {
	Front
	index      int // of the front
	server     *Server
	mayBeHTTP2 bool      // see clientConn
	room       int       // open connections; see awaitRoom
	told       time.Time // when the lack of room was logged last
	closed     atomic.Bool
	ends       chan struct{} // closed by Close
}

// Accept waits for the next connection. It is for one goroutine.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.awaitRoom()
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &clientConn{Conn: wire.Over(conn), peer: peerOf(conn), front: l.index, tls: l.TLS, authorities: l.Authorities, mayBeHTTP2: l.mayBeHTTP2, shakes: &l.server.handshakes, set: &l.server.conns, bounds: &l.server.bounds, draining: &l.server.activity.Draining}
		c.in.conn = &c.Conn
		c.idle.begin(time.Now())
		c.awaitsProxy = l.server.options.Proxied(c.peer)
		if l.server.conns.add(c, l.server.bounds.Load().MaxConnections) {
			return c, nil
		}
		l.turnAway(conn)
		_ = conn.Close()
	}
}

// Close stops accepting; a second call does nothing.
func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	close(l.ends)
	return l.Listener.Close()
}

// turnAway answers a connection beyond the limit. It does not read what the client sends. A client
// of TLS gets no answer: that would take a handshake.
func (l *listener) turnAway(conn net.Conn) {
	if l.TLS != nil {
		l.server.options.TurnedAway(peerOf(conn), 0, 0)
		return
	}
	answer := reason.Overloaded.Answer()
	now := time.Now()
	// The first bytes fit into the socket's buffer, so nothing waits.
	_ = conn.SetWriteDeadline(now.Add(time.Second))
	head := message.AppendDate(slices.Clone(answer.Head), now)
	sent, _ := conn.Write(slices.Concat(head, []byte("Connection: close\r\n\r\n"), answer.Body))
	l.server.options.TurnedAway(peerOf(conn), time.Since(now), sent)
}
