package ends

import (
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// BodyReader reads the body of a request for an answer of the server's own, while it comes. It is for
// the goroutine that owns the stream.
type BodyReader interface {
	// Read reads at least one byte, or returns an error. The first call sends 100 Continue to a
	// client that waits for it. Once the server drains, reads that would wait fail with
	// net.ErrClosed.
	Read(p []byte) (int, error)
	// Length returns the length of the body in bytes, or -1 if it is not known.
	Length() int
	// End ends the reader. It returns the reason why the body did not come to its end, if that is
	// the client's fault, or reason.None.
	End() reason.Code
}

// smallBody is the size of the largest body that is sent together with the header.
const smallBody = 16 << 10

// HasSmallBody reports whether the request's body is sent together with the header.
func (x *Exchange) HasSmallBody() bool {
	return x.Request.Framing == message.FixedLength && x.Request.Length <= smallBody
}

// SmallBody returns a small body, once Prefetch has read it.
func (x *Exchange) SmallBody() []byte { return x.small }

// Prefetch reads a request body of known length, before a backend's connection is taken: a slow
// client must not hold one. It reads a small body in any case, and one of up to most bytes if the
// server's budget has room for it; others are streamed. A client that waits for 100 Continue gets
// it first. Later calls do nothing.
func (s Stream) Prefetch(most int64) reason.Code {
	r := &s.Request
	switch {
	case r.Framing != message.FixedLength || s.HasReadBody() || s.Attempted:
		return reason.None
	case s.HasSmallBody():
		return s.readSmallBody()
	case r.Length > most || !s.Activity.Buffers.Take(r.Length):
		return reason.None
	}
	if why := s.Proceed(); why != reason.None {
		s.Activity.Buffers.Give(r.Length)
		return why
	}
	return s.unread(s.Replay.fill(s, r.Length, &s.Activity.Buffers))
}

// readSmallBody reads a small body, which stays for all attempts.
func (s Stream) readSmallBody() reason.Code {
	if why := s.Proceed(); why != reason.None {
		return why
	}
	if cap(s.small) == 0 {
		s.small = make([]byte, 0, smallBody)
	}
	for !s.HasReadBody() {
		var err error
		if s.small, err = s.ReadBody(s.small); err != nil {
			return s.unread(err)
		}
	}
	return reason.None
}

// unread returns the reason for an error of ReadBody, and notes the cause.
func (s Stream) unread(err error) (why reason.Code) {
	if err != nil {
		why, s.Cause = s.Unread(err)
	}
	return why
}
