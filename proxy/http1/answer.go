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
	return message.AppendDate(append(s.beginOwn(why), answer.Head...), time.Now()), true
}

// BeginReply begins a response with which the balancer itself serves a request that has passed the
// guard, and returns its header, to which fields may be added, in the stream's Buffer. size is that
// of the body in bytes.
func (s *Stream) BeginReply(status, size int) (header []byte) {
	return message.AppendDate(message.AppendStatus(s.beginOwn(reason.None), status, size), time.Now())
}

// beginOwn begins a response of the balancer's own.
func (s *Stream) beginOwn(why reason.Code) (header []byte) {
	s.byFasthttp = false
	s.closeIf(s.activity.Draining.Load())
	if !s.findsNext(why) {
		s.conn.ending.Raise(wire.Linger)
	}
	return s.Buffer()
}

// findsNext reports whether the connection will be at the start of the next request, although the
// request's body was not read.
func (s *Stream) findsNext(why reason.Code) bool {
	switch why {
	case reason.BadRequest, reason.MethodNotAllowed, reason.ExpectationFailed, reason.Misdirected, reason.HeaderTooLarge, reason.BodyTooLarge, reason.RequestTimeout, reason.InternalError:
		return false // it is uncertain where the next request begins, or another connection is due
	}
	return s.Ends() || s.discardable() || s.discardBuffered()
}

// EndAnswer is that of ends.Outgoing.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, ends.Allow...)
	}
	return s.EndReply(header, why.Status(), why.Answer().Body)
}

// EndReply sends the response whose header began with BeginReply. It returns ClientGone if the
// client did not take all of it.
func (s *Stream) EndReply(header []byte, status int, body []byte) reason.Code {
	s.Out = s.appendConnection(header)
	if !s.Request.Head {
		s.Out = append(s.Out, body...)
	}
	s.status = status
	return s.Flush()
}
