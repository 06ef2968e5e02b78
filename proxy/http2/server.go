package http2

import (
	"context"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"loadbalancer/proxy/ends"
)

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
	ReadHeaderTimeout time.Duration // for the preface
	IdleTimeout       time.Duration // of a connection without a stream, which then gets a GOAWAY
	BodyTimeout       time.Duration // of a connection whose client takes nothing
}

// Server serves connections whose clients speak HTTP/2. It is safe for concurrent use.
type Server struct {
	options Options // without the bounds

	mu      sync.Mutex
	bounds  Bounds
	current *server   // takes new connections; guarded by mu
	before  []*server // have connections from before the bounds changed; guarded by mu
	ended   bool      // guarded by mu
}

// NewServer returns a Server. It begins with the first connection.
func NewServer(o Options) *Server { return &Server{options: o, bounds: o.Bounds} }

// SetBounds replaces the bounds.
func (s *Server) SetBounds(b Bounds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == s.bounds {
		return
	}
	s.bounds = b
	if s.current != nil {
		s.before = append(s.before, s.current)
		s.current = nil
		s.release(nil)
	}
}

// Serve serves a connection until it is closed.
func (s *Server) Serve(conn ends.Conn) {
	of := s.take()
	defer s.release(of)
	c := &clientConn{Conn: conn, closed: make(chan struct{})}
	if of == nil || !of.give(c) {
		_ = conn.Close()
		return
	}
	<-c.closed
}

// take returns the server for a new connection, or nil at the end.
func (s *Server) take() *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	if s.current == nil {
		s.current = s.newServer()
	}
	s.current.conns++
	return s.current
}

// release undoes take, and ends the servers from before that have no connection any more. It takes
// nil, while mu is held, for the latter alone.
func (s *Server) release(of *server) {
	if of != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		of.conns--
	}
	kept := s.before[:0]
	for _, b := range s.before {
		if b.conns > 0 {
			kept = append(kept, b)
		} else {
			_ = b.http.Close()
		}
	}
	clear(s.before[len(kept):])
	s.before = kept
}

// Drain tells all clients to send no more requests on their connections (GOAWAY). A connection ends
// a second after its last stream.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.current != nil {
		s.before = append(s.before, s.current)
		s.current = nil
	}
	atOnce, cancel := context.WithCancel(context.Background())
	cancel()
	for _, b := range s.before {
		_ = b.http.Shutdown(atOnce) // returns once the GOAWAYs are on their way
	}
}

// server serves the connections that have begun under the same bounds.
type server struct {
	http  http.Server
	queue queue
	conns int // guarded by Server.mu
}

func (s *Server) newServer() *server {
	of := &server{queue: newQueue()}
	h := &of.http
	h.Handler = http.HandlerFunc(s.handle)
	h.ReadHeaderTimeout = s.bounds.ReadHeaderTimeout
	h.IdleTimeout = s.bounds.IdleTimeout
	h.MaxHeaderBytes = s.options.MaxHeaderSize
	h.ErrorLog = log.New(io.Discard, "", 0) // broken connections and bad requests are no events
	h.DisableGeneralOptionsHandler = true
	h.ConnContext = withConn
	h.ConnState = noteState
	h.Protocols = new(http.Protocols)
	h.Protocols.SetUnencryptedHTTP2(true) // TLS, if any, is below the connection
	h.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              minFrameSize,
		MaxReceiveBufferPerStream:     streamWindow,
		MaxReceiveBufferPerConnection: connWindow,
		WriteByteTimeout:              s.bounds.BodyTimeout,
	}
	go func() { _ = h.Serve(&of.queue) }() // until Close or Shutdown
	return of
}

// handle takes a request. One whose response has to look incomplete ends with RST_STREAM.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.options.Activity.InFlight.Add(1)
	defer s.options.Activity.InFlight.Add(-1)
	stream := begin(w, r, s.options.Activity)
	conn := stream.conn
	conn.enter()
	s.options.Handle(ends.Stream{Exchange: &stream.Exchange, ClientEnd: stream})
	broken, patience := stream.broken, stream.Limits.BodyTimeout
	end(stream)
	conn.leave(patience)
	if broken {
		panic(http.ErrAbortHandler)
	}
}
