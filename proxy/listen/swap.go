package listen

import (
	"net"
	"sync"
)

// Swap is a listener whose address can change while it is served: connections that were accepted
// before live on. It is safe for concurrent use. Make one with NewSwap.
type Swap struct {
	mu      sync.Mutex
	changed sync.Cond    // signals a new current, or the end
	current net.Listener // nil: nothing is accepted
	closed  bool
}

// NewSwap returns a Swap that accepts from ln until Use gives it another. If ln is nil, it accepts
// nothing until then.
func NewSwap(ln net.Listener) *Swap {
	s := &Swap{current: ln}
	s.changed.L = &s.mu
	return s
}

// Use accepts from ln from now on, and closes the listener before. If ln is nil, nothing is
// accepted any more. After Close, ln is closed at once.
func (s *Swap) Use(ln net.Listener) {
	s.mu.Lock()
	old := s.current
	if s.closed {
		old = ln
	} else {
		s.current = ln
	}
	s.mu.Unlock()
	s.changed.Broadcast()
	if old != nil {
		_ = old.Close() // a wait in Accept ends, and goes on with the new one
	}
}

// Accept waits for the next connection. It returns net.ErrClosed after Close.
func (s *Swap) Accept() (net.Conn, error) {
	for {
		from := s.wait()
		if from == nil {
			return nil, net.ErrClosed
		}
		conn, err := from.Accept()
		if err == nil || !s.replaced(from) {
			return conn, err
		}
	}
}

// wait returns the listener to accept from, once there is one, or nil after Close.
func (s *Swap) wait() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.current == nil && !s.closed {
		s.changed.Wait()
	}
	if s.closed {
		return nil
	}
	return s.current
}

// replaced reports whether Use has taken the listener out.
func (s *Swap) replaced(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != ln
}

// Close stops accepting for good. A second call does nothing.
func (s *Swap) Close() error {
	s.mu.Lock()
	last, again := s.current, s.closed
	s.closed = true
	s.mu.Unlock()
	s.changed.Broadcast()
	if last == nil || again {
		return nil
	}
	return last.Close()
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
