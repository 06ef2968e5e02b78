package http2

import (
	"net"
	"net/netip"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

var _ ends.ClientEnd = (*Stream)(nil)

// Guard is that of ends.ClientEnd.
func (s *Stream) Guard(l *ends.Limits) (why reason.Code) {
	defer s.Rescue(&why)
	s.Limits = l
	if s.refused != reason.None {
		return s.refused
	}
	if s.deadWhy() != nil {
		return reason.ClientGone
	}
	why = s.Request.Guard(&l.Rules)
	s.Cause = s.Request.Fault
	s.incoming = newIncoming(&s.Request, l.BodyTimeout)
	return why
}

// Peer is that of ends.ClientEnd.
func (s *Stream) Peer() netip.Addr { return s.conn.Peer() }

// Conn returns the client's connection, to be asked, not to be read or written.
func (s *Stream) Conn() net.Conn { return s.conn }

// Received is that of ends.ClientEnd. The header counts as it is rendered.
func (s *Stream) Received() int64 { return int64(len(s.header)) + s.incoming.data }

// End is that of ends.ClientEnd.
func (s *Stream) End() { s.Finished = time.Now() }

// WatchAfter is that of wire.Announcer: a reset ends the work at once.
func (s *Stream) WatchAfter() time.Duration { return 0 }

// Announce is that of wire.Announcer.
func (s *Stream) Announce(w *wire.Watch) { s.departure.set(w) }

// Forget is that of wire.Announcer.
func (s *Stream) Forget(*wire.Watch) { s.departure.set(nil) }

// deadWhy returns why nothing more comes or can be sent, or nil.
func (s *Stream) deadWhy() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.dead
}
