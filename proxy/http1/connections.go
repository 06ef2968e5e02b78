package http1

import (
	"sync"

	"loadbalancer/proxy/wire"
)

// connSet holds the open connections of clients. It is safe for concurrent use.
type connSet struct {
	mu    sync.Mutex
	conns map[*clientConn]struct{}
}

// add adds a connection. ok is false if there are already this many; 0 means no limit.
func (s *connSet) add(c *clientConn, most int) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most > 0 && len(s.conns) >= most {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *connSet) remove(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// closeUnused closes the connections on which no byte of a request has arrived; fasthttp would give
// each of them five seconds. The goroutine that serves such a connection notices, and releases it.
func (s *connSet) closeUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !c.used.Load() {
			_ = c.Conn.Close()
		}
	}
}

// cutAll closes all connections with RST, even in the middle of a request.
func (s *connSet) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.End(wire.Reset, nil)
	}
}
