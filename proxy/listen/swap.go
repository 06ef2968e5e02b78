package listen

import (
	"net"
	"sync"
	"time"
)

// A client whose handshake ends after its listener has closed believes that it is connected, and is
// reset. So the listener that is to be closed stays open for a while, and refuses new clients.
const (
	moveTime  = 100 * time.Millisecond // a round trip to most clients; Accept goes on meanwhile
	closeTime = 5 * time.Millisecond   // shorter, since a successor may wait for the address
)

// Swap is a listener whose address can change while it is served: connections that were accepted
// before live on. It is safe for concurrent use. Make one with NewSwap.
type Swap struct {
	mu      sync.Mutex
	changed sync.Cond    // signals a new current, or the end
	current net.Listener // nil: nothing is accepted
	queued  []net.Conn   // of listeners before, for Accept
	closed  bool
}

// NewSwap returns a Swap that accepts from ln until Use gives it another. If ln is nil, it accepts
// nothing until then.
func NewSwap(ln net.Listener) *Swap {
	s := &Swap{current: ln}
	s.changed.L = &s.mu
	return s
}

// Use accepts from ln from now on, and closes the listener before. That one refuses new clients at
// once, but is accepted from until the handshakes under way have had 100 ms to end. Connections that
// the system has accepted for it by then are kept for Accept. If ln is nil, no others are accepted
// any more. After Close, ln is closed at once.
func (s *Swap) Use(ln net.Listener) {
	s.endHandshakes(moveTime)
	s.mu.Lock()
	old := s.current
	if s.closed {
		old = ln
	} else {
		s.keepQueued()
		s.current = ln
	}
	s.mu.Unlock()
	s.changed.Broadcast()
	if old != nil {
		_ = old.Close() // a wait in Accept ends, and goes on with the new one
	}
}

// endHandshakes has the current listener refuse new clients, and waits for those whose handshake is
// under way.
func (s *Swap) endHandshakes(wait time.Duration) {
	s.mu.Lock()
	ln := s.current
	refuses := ln != nil && !s.closed && refuseNew(ln)
	s.mu.Unlock()
	if refuses {
		time.Sleep(wait)
	}
}

// keepQueued takes the connections that wait at the current listener, which is about to be closed.
func (s *Swap) keepQueued() {
	if s.current != nil {
		s.queued = append(s.queued, queued(s.current)...)
	}
}

// Accept waits for the next connection. After Close it returns those that were kept, and then
// net.ErrClosed.
func (s *Swap) Accept() (net.Conn, error) {
	for {
		conn, from := s.wait()
		if conn != nil {
			return conn, nil
		}
		if from == nil {
			return nil, net.ErrClosed
		}
		conn, err := from.Accept()
		if err == nil || s.uses(from) {
			return conn, err
		}
	}
}

// wait returns a connection that was kept or, once there is one, the listener to accept from. After
// Close, both are nil in the end.
func (s *Swap) wait() (kept net.Conn, from net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.current == nil && !s.closed && len(s.queued) == 0 {
		s.changed.Wait()
	}
	if len(s.queued) > 0 {
		kept, s.queued = s.queued[0], s.queued[1:]
		return kept, nil
	}
	if s.closed {
		return nil, nil
	}
	return nil, s.current
}

// uses reports whether the listener is the one to accept from.
func (s *Swap) uses(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current == ln && !s.closed
}

// Close stops accepting for good, after the handshakes under way have had 5 ms to end. Connections
// that the system has accepted by then are kept for Accept; a second call closes what is left of
// them.
func (s *Swap) Close() error {
	s.endHandshakes(closeTime)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		for _, conn := range s.queued {
			_ = conn.Close()
		}
		s.queued = nil
		return nil
	}
	s.keepQueued()
	s.closed = true
	s.changed.Broadcast()
	if s.current == nil {
		return nil
	}
	return s.current.Close()
}

// Addr returns the address of the listener in use, or an empty one.
func (s *Swap) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return &net.TCPAddr{}
	}
	return s.current.Addr()
}
