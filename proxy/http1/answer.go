package http1

import (
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// BeginAnswer begins the balancer's own answer, for a request that no backend has answered, and
// returns its header, to which fields may be added, in the stream's Buffer. ok is false if a
// response has begun or the client has gone: then the connection only ends.
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
	s.closeIf(s.activity.draining.Load())
	if !s.findsNext(why) {
		s.conn.ending.Raise(wire.Linger)
	}
	return message.AppendDate(append(s.Buffer(), answer.Head...), time.Now()), true
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

// EndAnswer sends the answer whose header began with BeginAnswer. It returns ClientGone if the
// client did not take all of it.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	s.out = s.appendConnection(header)
	if !s.Request.Head {
		s.out = append(s.out, why.Answer().Body...)
	}
	s.status = why.Status()
	return s.Flush()
}
