package http1

import (
	"net/http"
	"strconv"
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
	return message.AppendDate(append(s.beginOwn(why), answer.Head...), time.Now()), true
}

// BeginReply begins a response with which the balancer itself serves a request that has passed the
// guard, and returns its header, to which fields may be added, in the stream's Buffer. size is that
// of the body in bytes.
func (s *Stream) BeginReply(status, size int) (header []byte) {
	b := append(s.beginOwn(reason.None), "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	b = append(append(b, http.StatusText(status)...), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(size), 10), "\r\n"...)
	return message.AppendDate(b, time.Now())
}

// beginOwn begins a response of the balancer's own.
func (s *Stream) beginOwn(why reason.Code) (header []byte) {
	s.byFasthttp = false
	s.closeIf(s.activity.draining.Load())
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

// EndAnswer sends the answer whose header began with BeginAnswer. It returns ClientGone if the
// client did not take all of it.
func (s *Stream) EndAnswer(header []byte, why reason.Code) reason.Code {
	if why == reason.MethodNotAllowed {
		header = append(header, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	return s.EndReply(header, why.Status(), why.Answer().Body)
}

// EndReply sends the response whose header began with BeginReply. It returns ClientGone if the
// client did not take all of it.
func (s *Stream) EndReply(header []byte, status int, body []byte) reason.Code {
	s.out = s.appendConnection(header)
	if !s.Request.Head {
		s.out = append(s.out, body...)
	}
	s.status = status
	return s.Flush()
}
