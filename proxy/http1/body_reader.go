package http1

import (
	"io"
	"net"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// bodyReader is an ends.BodyReader. The client may be silent for the body timeout at most.
type bodyReader struct {
	s   *Stream
	why reason.Code // why the body did not come
	err error       // of the read that failed
}

// OpenBody returns a reader of the request's body. Its End must be called before that of the stream.
func (s *Stream) OpenBody() ends.BodyReader {
	s.conn.set.beginRead(s.conn)
	if s.activity.Draining.Load() {
		s.conn.Stop() // the reads of others were stopped before this one has begun
	}
	return &bodyReader{s: s}
}

// Length is that of ends.BodyReader.
func (r *bodyReader) Length() int {
	if b := &r.s.body; b.framing == message.FixedLength {
		return int(b.length)
	}
	return -1
}

// Read is that of ends.BodyReader.
func (r *bodyReader) Read(p []byte) (int, error) {
	s, b := r.s, &r.s.body
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if s.conn.IsStopped() && s.expects {
		return 0, r.fail(reason.None, net.ErrClosed)
	}
	if why := s.Proceed(); why != reason.None {
		return 0, r.fail(why, io.ErrUnexpectedEOF)
	}
	for !b.ended {
		got, err := b.next(p[:0:len(p)])
		switch {
		case err == nil && len(got) == 0:
			continue
		case err == nil:
		case s.conn.IsStopped() && wire.TimedOut(err):
			s.Cause = errEnding
			err = r.fail(reason.None, net.ErrClosed)
		default:
			s.Cause = unread(err, b.timeout)
			err = r.fail(bodyReason(err), err)
		}
		return len(got), err
	}
	return 0, io.EOF
}

// fail ends the reader, and the connection with the stream.
func (r *bodyReader) fail(why reason.Code, err error) error {
	r.why, r.err = why, err
	r.s.closeIf(true)
	return err
}

// End is that of ends.BodyReader.
func (r *bodyReader) End() reason.Code {
	r.s.conn.set.endRead(r.s.conn)
	return r.why
}
