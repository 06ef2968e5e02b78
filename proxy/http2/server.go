package http2

import (
	"sync"
	"time"

	"loadbalancer/proxy/ends"
)

// maxStreams is the most streams at once on a connection: enough for a page of images or a proxy in
// front, and so few that a client that resets its streams makes no more work than that.
const maxStreams = 250

// Options are the parts of a Server. Handle is called concurrently.
type Options struct {
	Bounds
	MaxHeaderSize int               // bytes of a header list, where each field counts 32 more (RFC 9113, section 6.5.2)
	Handle        func(ends.Stream) // takes each request; it must call the stream's End, and must not panic
	Activity      *ends.Activity    // of the server that accepts the connections
}

// Bounds are the limits of a Server's connections. A connection goes by those that were in force
// when it began.
type Bounds struct {
	ReadHeaderTimeout time.Duration // for the preface, and for each header block from its first frame
	IdleTimeout       time.Duration // of a connection without a stream, which then gets a GOAWAY
	BodyTimeout       time.Duration // of a connection whose client takes nothing
}

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
