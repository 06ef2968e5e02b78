package http1

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// ReadBody is that of ends.Incoming.
func (s *Stream) ReadBody(dst []byte) ([]byte, error) { return s.body.next(dst) }

// HasReadBody is that of ends.Incoming.
func (s *Stream) HasReadBody() bool { return s.body.ended }

// BodyTrailers is that of ends.Incoming.
func (s *Stream) BodyTrailers() *message.Trailers { return &s.body.trailers }

// SetBodyTimeout is that of ends.Incoming.
func (s *Stream) SetBodyTimeout(d time.Duration) { s.body.timeout = d }

// StopBody is that of ends.Incoming.
func (s *Stream) StopBody() { s.conn.Stop() }

// ResumeBody is that of ends.Incoming.
func (s *Stream) ResumeBody() { s.conn.Resume() }

// Unread is that of ends.Incoming.
func (s *Stream) Unread(err error) (reason.Code, error) {
	return bodyReason(err), unread(err, s.Limits.BodyTimeout)
}

// Proceed is that of ends.Incoming.
func (s *Stream) Proceed() reason.Code {
	b := &s.body
	if !s.expects || b.ended {
		return reason.None
	}
	s.expects = false
	if b.in.r < b.in.w {
		return reason.None // the client did not wait
	}
	s.conn.ExpectWrite(time.Now(), b.timeout)
	n, err := s.conn.Conn.Write(continueLine)
	s.Sent += int64(n)
	if err != nil {
		s.closeIf(true)
		return reason.ClientGone
	}
	return reason.None
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// drainable is the largest unread rest of a body that a connection can survive.
const drainable = 64 << 10

// discardable reports whether the rest of the body is small enough to be read and discarded. A
// client that waits for 100 Continue will not send it.
func (s *Stream) discardable() bool {
	b := &s.body
	return b.ended || b.framing == message.FixedLength && b.left <= drainable && !s.expects
}

// discardBuffered discards what has arrived of the rest of the body, and reports whether that was
// all of it. It does not wait: it is for bodies of unknown length and for bodies that may never
// come.
func (s *Stream) discardBuffered() bool {
	b := &s.body
	if b.ended || b.in == nil || !b.ready() {
		return b.ended
	}
	s.conn.Stop() // any wait for more now ends at once
	defer s.conn.Resume()
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for !b.ended {
		if _, err := b.next(scratch[:0]); err != nil {
			return false
		}
	}
	return true
}

// discardBody reads and discards the rest of the body, so that the connection is at the start of
// the next request.
func (s *Stream) discardBody() reason.Code {
	b := &s.body
	if b.ended || b.in == nil {
		return reason.None
	}
	if !s.discardable() && !s.discardBuffered() {
		return reason.BodyTooLarge
	}
	scratch := streamBuffers.Get().(*[streamBufferSize]byte)
	defer streamBuffers.Put(scratch)
	for !b.ended {
		if _, err := b.next(scratch[:0]); err != nil {
			return bodyReason(err)
		}
	}
	return reason.None
}

// bodyReason returns the reason why a request's body did not come.
func bodyReason(err error) reason.Code {
	switch {
	case wire.TimedOut(err):
		return reason.RequestTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET):
		return reason.ClientGone
	}
	return reason.BadRequest // its chunked coding is invalid
}
