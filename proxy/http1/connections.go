package http1

import (
	"crypto/tls"
	"math/rand/v2"
	"sync"

	"loadbalancer/proxy/wire"
)

// connSet holds the open connections of clients. It is safe for concurrent use.
type connSet struct {
	mu    sync.Mutex
	conns []*clientConn // each knows its index
	left  chan struct{} // has one element if a connection was removed since it was last received
}

func newConnSet() connSet {
	return connSet{left: make(chan struct{}, 1)}
}

// add adds a connection. If there are already this many, an idle one makes place; ok is false if
// none is idle. 0 means no limit.
func (s *connSet) add(c *clientConn, most int) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for most > 0 && len(s.conns) >= most {
		if !s.makePlace() {
			return false
		}
	}
	c.index = len(s.conns)
	s.conns = append(s.conns, c)
	return true
}

// makePlace closes a connection that is idle, and reports whether there was one. It is called while
// mu is held.
func (s *connSet) makePlace() (ok bool) {
	sinceOf := func(at int) int64 { return s.conns[at].idle.since.Load() }
	for {
		at := longestIdle(len(s.conns), sinceOf, rand.IntN)
		if at < 0 {
			return false
		}
		if c := s.conns[at]; c.idle.evict(max(1, sinceOf(at))) {
			s.drop(c)
			_ = c.Conn.Close() // the goroutine that serves it notices
			return true
		}
	}
}

func (s *connSet) remove(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
}

// drop is remove while mu is held. A second call does nothing.
func (s *connSet) drop(c *clientConn) {
	if c.index < 0 {
		return
	}
	last := len(s.conns) - 1
	s.conns[c.index] = s.conns[last]
	s.conns[c.index].index = c.index
	s.conns[last] = nil
	s.conns = s.conns[:last]
	c.index = -1
	s.tellLeft()
}

// tellLeft wakes a listener that waits for connections to close.
func (s *connSet) tellLeft() {
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// secure makes the connection one of TLS. Another goroutine may be about to close it.
func (s *connSet) secure(c *clientConn, config *tls.Config, early []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Secure(tls.Server, config, early)
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// closeUnused closes the connections on which no byte of a request has arrived, to which fasthttp
// would give five seconds, and those that are parked, of which it does not know. The goroutine that
// serves such a connection notices, and releases it.
func (s *connSet) closeUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if !c.used.Load() || c.parked.Load() && c.idle.evict(max(1, c.idle.since.Load())) {
			_ = c.Conn.Close()
		}
	}
}

// beginRead marks a connection as one whose reads endReads stops, until endRead.
func (s *connSet) beginRead(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.uploads = true
}

// endRead undoes beginRead, and what endReads has done since.
func (s *connSet) endRead(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.uploads = false; c.IsStopped() {
		c.Resume()
	}
}

// endReads stops the reads of bodies for the API, which may be without bounds.
func (s *connSet) endReads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.uploads {
			c.Stop()
		}
	}
}

// cutAll closes all connections with RST, even in the middle of a request.
func (s *connSet) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.End(wire.Reset, nil)
	}
}
