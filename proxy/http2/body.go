package http2

import (
	"fmt"
	"os"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// Proceed is that of ends.Incoming.
func (s *Stream) Proceed() reason.Code {
	b := &s.incoming
	if !s.Request.Expect || b.continued || b.ended {
		return reason.None
	}
	b.continued = true
	return s.deliver(&parcel{status: 100})
}

// HasReadBody is that of ends.Incoming.
func (s *Stream) HasReadBody() bool { return s.incoming.ended }

// BodyTrailers is that of ends.Incoming.
func (s *Stream) BodyTrailers() *message.Trailers { return &s.trailers }

// SetBodyTimeout is that of ends.Incoming.
func (s *Stream) SetBodyTimeout(d time.Duration) { s.incoming.timeout = d }

// StopBody is that of ends.Incoming.
func (s *Stream) StopBody() {
	s.setStopped(true)
	s.receiving.wake()
}

// ResumeBody is that of ends.Incoming.
func (s *Stream) ResumeBody() { s.setStopped(false) }

func (s *Stream) setStopped(stopped bool) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.incoming.stopped = stopped
}

// ReadBody is that of ends.Incoming.
func (s *Stream) ReadBody(dst []byte) ([]byte, error) {
	b, had := &s.incoming, len(dst)
	by := time.Time{}
	for !b.ended && had < cap(dst) {
		dst, state, err := s.receive(dst)
		b.data += int64(len(dst) - had)
		switch {
		case b.framing == message.FixedLength && b.data == b.length:
			b.ended = true
		case err != nil:
			return dst, err
		case state == bodyEnds && b.framing == message.FixedLength:
			return dst, errLength
		case state == bodyEnds:
			b.ended = true
		case len(dst) == had:
			if by.IsZero() {
				by = time.Now().Add(b.timeout)
			}
			if !s.receiving.wait(time.Until(by)) {
				return dst, os.ErrDeadlineExceeded
			}
			continue
		}
		return dst, nil
	}
	return dst, nil
}

// bodyState is whether more of a body comes.
type bodyState bool

const (
	bodyGoesOn bodyState = false
	bodyEnds   bodyState = true
)

// receive takes what has come. It does not wait.
func (s *Stream) receive(dst []byte) (_ []byte, state bodyState, err error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.dead != nil:
		return dst, bodyGoesOn, s.dead
	case s.inbox.empty() && s.remoteEnd:
		return dst, bodyEnds, nil
	case s.incoming.stopped:
		return dst, bodyGoesOn, os.ErrDeadlineExceeded
	}
	dst, more := s.inbox.take(dst)
	if b := &s.inbox; !b.isWide && s.incoming.data > streamWindow && s.Activity.Buffers.Take(wideWindow-streamWindow) {
		more += b.widen()
	}
	if more > 0 && !s.remoteEnd {
		c.out.buf = appendWindow(c.out.buf, s.id, more)
		c.flush()
	}
	return dst, bodyState(s.inbox.empty() && s.remoteEnd), nil
}

// Unread is that of ends.Incoming.
func (s *Stream) Unread(err error) (reason.Code, error) {
	switch {
	case wire.TimedOut(err):
		return reason.RequestTimeout, fmt.Errorf("nothing of the request body came for %s", s.Limits.BodyTimeout)
	case err == errLength:
		return reason.BadRequest, err
	case err == errGone:
		return reason.ClientGone, errClientReset
	}
	return reason.ClientGone, err
}
