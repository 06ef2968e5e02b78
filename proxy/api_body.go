package proxy

import (
	"errors"
	"io"
	"net"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

var errEnding = errors.New("the load balancer ends and reads no more of the request body")

// streamBody is an ends.BodyReader over any stream. A read that has begun before the server drains
// goes on for the body timeout at most.
type streamBody struct {
	s   ends.Stream
	why reason.Code // why the body did not come
	err error       // of the read that failed
}

// Length is that of ends.BodyReader.
func (b *streamBody) Length() int {
	if r := &b.s.Request; r.Framing == message.FixedLength {
		return int(r.Length)
	}
	return -1
}

// Read is that of ends.BodyReader.
func (b *streamBody) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	for !b.s.HasReadBody() {
		if b.s.Activity.Draining.Load() {
			b.s.Cause, b.err = errEnding, net.ErrClosed
			return 0, b.err
		}
		got, err := b.s.ReadBody(p[:0:len(p)])
		if err != nil {
			b.why, b.s.Cause = b.s.Unread(err)
			b.err = err
		}
		if err != nil || len(got) > 0 {
			return len(got), err
		}
	}
	return 0, io.EOF
}

// End is that of ends.BodyReader.
func (b *streamBody) End() reason.Code { return b.why }
