package http1

import (
	"time"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// BeginAnswer is that of ends.Outgoing. Where ok is false, the connection ends.
func (s *Stream) BeginAnswer(why reason.Code) (header []byte, ok bool) {
	answer := why.Answer()
	if s.Status != 0 || answer == nil {
		s.closeIf(true)
		if why == reason.InternalError {
			s.conn.abort() // whatever was sent of the response must not look complete
		}
		return nil, false
	}
	s.byFasthttp = false
	s.closeIf(s.activity.Draining.Load())
	if !s.findsNext(why) {
		s.conn.ending.Raise(wire.Linger)
	}
	return message.AppendDate(append(s.Buffer(), answer.Head...), time.Now()), true
}

// findsNext reports whether the connection will be at the start of the next request, although the
// request's body was not read.
func (s *Stream) findsNext(why reason.Code) bool {
	switch why {
	case reason.BadRequest, reason.MethodNotAllowed, reason.ExpectationFailed, reason.HeaderTooLarge, reason.BodyTooLarge, reason.RequestTimeout, reason.InternalError:
		return false // it is uncertain where the next request begins
	}
	return s.Ends() || s.discardable() || s.discardBuffered()
}

// EndAnswer is that of ends.Outgoing.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, ends.Allow...)
	}
	s.Out = s.appendConnection(header)
	if !s.Request.Head {
		s.Out = append(s.Out, why.Answer().Body...)
	}
	s.status = why.Status()
	return s.Flush()
}
