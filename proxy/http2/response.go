package http2

import (
	"bytes"
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// Begin is that of ends.Outgoing.
func (s *Stream) Begin(message.Framing, bool) []byte { return s.Buffer() }

// TakesTrailers is that of ends.Outgoing.
func (s *Stream) TakesTrailers() bool { return true }

// EndHeader is that of ends.Outgoing.
func (s *Stream) EndHeader(b []byte, status int) {
	s.response.status = status
	s.response.lines = append(s.response.lines[:0], behindLine(b)...)
	s.response.ended, s.response.trailers = s.Request.Head, nil
	s.Out = b[:0]
	if s.Request.LacksCertificate() { // the client has to make another connection
		s.conn.drain()
	}
}

// behindLine returns the fields of a header, which begins with a status line.
func behindLine(header []byte) []byte { return header[bytes.IndexByte(header, '\n')+1:] }

// Room is that of ends.Outgoing.
func (s *Stream) Room() []byte {
	if s.Status != 0 && s.response.large == nil {
		s.response.large = ends.Buffers.Get().(*[ends.BufferSize]byte)
		s.response.first, s.Out = s.Out, s.response.large[:0]
	}
	return s.Out
}

// Add is that of ends.Outgoing.
func (s *Stream) Add(b []byte) { s.Out = b }

// EndBody is that of ends.Outgoing.
func (s *Stream) EndBody(r *message.Response, t *message.Trailers) {
	s.response.ended = true
	if lines := r.AppendTrailers(nil, t); len(lines) > 0 {
		s.response.trailers = lines
	}
}

// FlushAhead is that of ends.Outgoing.
func (s *Stream) FlushAhead(most int64, allowed bool) reason.Code {
	p := parcel{data: s.Out, trailers: s.response.trailers, ends: s.response.ended}
	if s.Status == 0 {
		p.status, p.lines = s.response.status, s.response.lines
		s.Status = s.response.status
	}
	var err error
	if s.ahead != nil || allowed && most > 0 {
		err = s.conn.sendAhead(s, &p, most)
	} else {
		err = s.conn.send(s, &p)
	}
	if err != nil {
		s.releaseAhead()
	}
	s.Out = s.Out[:0]
	return s.sent(&p, err)
}

func (s *Stream) releaseAhead() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.conn.releaseAhead(s, &s.Activity.Buffers)
}

// deliver sends a parcel, from which it takes what was sent.
func (s *Stream) deliver(p *parcel) reason.Code {
	return s.sent(p, s.conn.send(s, p))
}

// sent notes what was sent of a parcel.
func (s *Stream) sent(p *parcel, err error) reason.Code {
	s.Sent += int64(p.sent)
	if err != nil {
		s.Cause, s.broken = err, true
		return reason.ClientGone
	}
	return reason.None
}

// AwaitAhead is that of ends.Outgoing.
func (s *Stream) AwaitAhead() reason.Code {
	if s.ahead == nil { // set by this goroutine
		return reason.None
	}
	err := s.conn.await(s)
	s.releaseAhead()
	return s.sent(&parcel{}, err)
}

// BreakOff is that of ends.Outgoing. A call of gRPC ends with a status of its own, which tells its
// client more than RST_STREAM does.
func (s *Stream) BreakOff(f message.Framing) {
	if !s.Request.GRPC.Is || s.Status == 0 || f == message.FixedLength {
		s.broken = true
		return
	}
	trailers, status := reason.BrokenCall(s.Request.GRPC.IsOver(s.Started))
	s.response.ended, s.response.trailers = true, trailers
	if s.FlushAhead(0, false) == reason.None {
		s.CallStatus = status
	}
}

// SendInterim is that of ends.Outgoing.
func (s *Stream) SendInterim(b []byte) reason.Code {
	status := 100*int(b[9]-'0') + 10*int(b[10]-'0') + int(b[11]-'0') // behind the version
	return s.deliver(&parcel{status: status, lines: behindLine(b)})
}

// BeginAnswer is that of ends.Outgoing.
func (s *Stream) BeginAnswer(why reason.Code) (header []byte, ok bool) {
	answer := why.Answer()
	if s.Status != 0 || answer == nil || s.broken || s.deadWhy() != nil {
		s.broken = s.broken || !s.response.ended || why == reason.InternalError
		return nil, false
	}
	return message.AppendDate(append(s.Buffer(), answer.Head...), time.Now()), true
}

// EndAnswer is that of ends.Outgoing.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, ends.Allow...)
	}
	return s.EndReply(header, why.Status(), why.Answer().Body)
}

// BeginReply is that of ends.Outgoing.
func (s *Stream) BeginReply(status, size int) (header []byte) {
	return message.AppendDate(message.AppendStatus(s.Buffer(), status, size), time.Now())
}

// EndReply is that of ends.Outgoing.
func (s *Stream) EndReply(header []byte, status int, body []byte) reason.Code {
	s.EndHeader(header, status)
	if !s.Request.Head {
		s.Out = append(s.Out, body...)
	}
	s.response.ended = true
	return s.FlushAhead(0, true)
}
