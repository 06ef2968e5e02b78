package proxy

import (
	"sync"

	"loadbalancer/proxy/wire"
)

// clientSet holds the connections of clients that are open. It is safe for
// concurrent use.
type clientSet struct {
	most int // 0 means no limit

	mu    sync.Mutex
	conns map[*clientConn]struct{}
}

// add takes a connection in; ok is false when there are as many as may be.
func (s *clientSet) add(c *clientConn) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && len(s.conns) >= s.most {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *clientSet) remove(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *clientSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// closeUnused closes the connections on which not a byte of a request has come.
// fasthttp would wait five seconds for one. Who serves them finds out, and closes
// them for good.
func (s *clientSet) closeUnused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !c.used.Load() {
			_ = c.Conn.Close()
		}
	}
}

// cutAll is closeUnused for all connections, whatever is under way on them: they
// end with RST.
func (s *clientSet) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.End(wire.Reset)
	}
}
