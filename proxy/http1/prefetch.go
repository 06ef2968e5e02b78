package http1

import (
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Prefetch reads a request body of known length, before a backend's connection is taken: a slow
// client must not hold one. It reads a small body in any case, and one of up to most bytes if the
// server's budget has room for it; others are streamed. A client that waits for 100 Continue gets
// it first. Later calls do nothing.
func (c *Call) Prefetch(s *Stream, most int64) reason.Code {
	b := &s.body
	switch {
	case b.framing != message.FixedLength || b.ended || c.attempted:
		return reason.None
	case b.small():
		return s.readSmallBody()
	case b.length > most || !s.activity.buffers.take(b.length):
		return reason.None
	}
	c.stream = s // so that Reset gives the buffer back
	if why := s.proceed(); why != reason.None {
		s.activity.buffers.give(b.length)
		return why
	}
	if err := c.upload.replay.fill(b, &s.activity.buffers); err != nil {
		s.Cause = unread(err, b.timeout)
		return bodyReason(err)
	}
	return reason.None
}
