package http2

import (
	"sync"

	"loadbalancer/proxy/ends"
)

// Server serves connections whose clients speak HTTP/2. It is safe for concurrent use.
type Server struct {
	options Options // without the bounds

	mu       sync.Mutex
	bounds   Bounds
	conns    map[*conn]struct{} // guarded by mu
	draining bool               // guarded by mu
}

// NewServer returns a Server. It starts nothing.
func NewServer(o Options) *Server {
	return &Server{options: o, bounds: o.Bounds, conns: map[*conn]struct{}{}}
}

// SetBounds replaces the bounds.
func (s *Server) SetBounds(b Bounds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounds = b
}

// Serve serves a connection until it is closed, and returns once its last stream has ended.
func (s *Server) Serve(with ends.Conn) {
	c, draining := s.begin(with)
	defer s.end(c)
	if draining {
		c.drain()
	}
	c.serve()
}

func (s *Server) begin(with ends.Conn) (c *conn, draining bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = newConn(with, &s.options, s.bounds)
	s.conns[c] = struct{}{}
	return c, s.draining
}

func (s *Server) end(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Drain tells all clients to send no more requests on their connections (RFC 9113, section 6.8). A
// connection ends after its last stream.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
}
