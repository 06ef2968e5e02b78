package upstream

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"loadbalancer/proxy/mux"
)

// shared are the connections to a backend that speaks HTTP/2, each of which serves several requests
// at once. A request takes a place on one that is open, or waits for one that is being dialed, and
// dials only where all places are taken. Each connection holds a slot while it is open. It is safe
// for concurrent use.
type shared struct {
	of        *conns
	maxHeader atomic.Int64 // bytes of a response's header
	open      atomic.Pointer[[]*mux.Conn]
	coming    atomic.Int64 // places that dials under way promise, and no request waits for; changed while mu is held

	mu      sync.Mutex
	dialing []*dial
	usual   int // places on the last connection that was made; 0: there was none
}

// dial is a connection that is being made.
type dial struct {
	done     chan struct{}
	err      error // once done
	promised int   // places that it is likely to have for others
}

// firstPlaces is how many places a backend's first connection is taken to have until it has said.
const firstPlaces = 100

var errStreams = errors.New("the backend allows no more requests on the connections that it may have")

// configure sets what connections that are made from now on go by. anew has those that are open end
// with their last request.
func (s *shared) configure(maxHeader int64, anew bool) {
	s.maxHeader.Store(maxHeader)
	if anew {
		s.retire()
	}
}

// take is conns.take.
func (s *shared) take() (*Conn, error) {
	for {
		if stream := s.reserve(); stream != nil {
			return s.conn(stream), nil
		}
		d, own := s.join()
		switch {
		case d == nil:
			if stream := s.reserve(); stream != nil { // of a dial that was over in between
				return s.conn(stream), nil
			}
			return nil, errConnections
		case own:
			stream, err := s.dial(d)
			if err != nil {
				return nil, err
			}
			return s.conn(stream), nil
		}
		if <-d.done; d.err != nil {
			return nil, d.err
		}
	}
}

// conn returns the connection as the road knows it, for one request.
func (s *shared) conn(stream *mux.Stream) *Conn {
	return &Conn{pool: s.of, Stream: stream}
}

// reserve takes a place on an open connection, or returns nil where there is none.
func (s *shared) reserve() *mux.Stream {
	for _, c := range s.all() {
		if stream := c.Reserve(); stream != nil {
			return stream
		}
	}
	return nil
}

func (s *shared) all() []*mux.Conn {
	if all := s.open.Load(); all != nil {
		return *all
	}
	return nil
}

// hasRoom reports whether a connection has a place, or is likely to have one soon.
func (s *shared) hasRoom() bool {
	if s.seemsToHaveRoom() {
		return true
	}
	s.mu.Lock() // what was promised may be open by now
	defer s.mu.Unlock()
	return s.seemsToHaveRoom()
}

func (s *shared) seemsToHaveRoom() bool {
	return slices.ContainsFunc(s.all(), (*mux.Conn).HasRoom) || s.coming.Load() > 0
}

// join returns a dial under way that is likely to have a place for another request, or a new one,
// which is the caller's own. It returns nil where no more connections may be made.
func (s *shared) join() (d *dial, own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dialing {
		if d.promised > 0 {
			d.promised--
			s.coming.Add(-1)
			return d, false
		}
	}
	if !s.of.slots.take() {
		return nil, false
	}
	d = &dial{done: make(chan struct{}), promised: firstPlaces - 1}
	switch {
	case s.of.idle.Load().keep == 0:
		d.promised = 0 // a connection serves one request
	case s.usual > 0:
		d.promised = s.usual - 1
	}
	s.dialing = append(s.dialing, d)
	s.coming.Add(int64(d.promised))
	return d, true
}

// dial makes a connection, and takes a place on it.
func (s *shared) dial(d *dial) (stream *mux.Stream, err error) {
	home := s.of.idle.Load()
	c, err := s.connect(home)
	if err == nil {
		if stream = c.Reserve(); stream == nil {
			err = errStreams
		}
	}
	s.mu.Lock()
	s.coming.Add(-int64(d.promised))
	s.dialing = slices.DeleteFunc(s.dialing, func(other *dial) bool { return other == d })
	if c != nil {
		s.usual = c.Places()
		all := append(slices.Clone(s.all()), c)
		s.open.Store(&all)
	}
	s.mu.Unlock()
	switch {
	case c == nil:
		s.of.slots.free()
	case c.HasEnded():
		s.forget(c) // before it was added
	case err != nil, home.keep == 0, s.of.retired.Load(), s.of.drained.Load(), home != s.of.idle.Load():
		c.Retire()
	}
	d.err = err
	close(d.done)
	return stream, err
}

// connect makes a connection.
func (s *shared) connect(home *stack) (*mux.Conn, error) {
	by := time.Now().Add(time.Duration(s.of.timeout.Load()))
	conn, err := s.of.establish(home)
	if err != nil {
		return nil, err
	}
	c, err := mux.Open(&conn.Conn, by, mux.Options{
		Keep: home.keep, MaxHeader: int(s.maxHeader.Load()), Ended: s.ended,
	})
	if err != nil {
		_ = conn.Conn.Close() // it is none of those of conns
		return nil, err
	}
	return c, nil
}

// ended gives back the slot of a connection that has been closed.
func (s *shared) ended(c *mux.Conn) {
	s.forget(c)
	s.of.slots.free()
}

// forget drops a connection that has ended.
func (s *shared) forget(c *mux.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(s.all()), func(other *mux.Conn) bool { return other == c })
	s.open.Store(&all)
}

// retire lets no request begin on the connections that are open: each ends with its last one.
func (s *shared) retire() {
	for _, c := range s.all() {
		c.Retire()
	}
}

// recall interrupts the requests that wait for the first byte of a response, and may be sent to
// another backend.
func (s *shared) recall() {
	for _, c := range s.all() {
		c.Recall()
	}
}
