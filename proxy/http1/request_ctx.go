package http1

import (
	"io"
	"strconv"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"

	"github.com/valyala/fasthttp"
)

// requestCtx is a request as fasthttp has it, which a stream carries along. Only this file and
// server.go look into it.
type requestCtx = fasthttp.RequestCtx

// RequestCtx returns the request as fasthttp has it, without its body, for an answer that is not on
// the hot path: AnswerPlainly or AnswerStream sends its Response.
func (s *Stream) RequestCtx() *fasthttp.RequestCtx {
	// fasthttp lets no handler set a Date. It writes its own after a reset of the header, which
	// undoes what configure has switched off for all responses.
	s.ctx.Response.Header.Reset()
	s.ctx.Response.Header.SetNoDefaultContentType(true)
	return s.ctx
}

// AnswerPlainly makes fasthttp write the response that a handler has made with RequestCtx, which
// has the given status and size of the body in bytes, when the handler of the stream has returned.
func (s *Stream) AnswerPlainly(status, size int) {
	s.byFasthttp = true
	s.Status = status
	if !s.Request.Head {
		s.Sent += int64(size)
	}
}

// AnswerStream sends the response that a handler has made with RequestCtx, whose body, of unknown
// length, writes itself. It returns ClientGone if the client did not take all of it, and
// InternalError if the body failed: then the connection has to end without the end of the body.
func (s *Stream) AnswerStream(body io.WriterTo) reason.Code {
	defer s.ctx.Response.Reset() // nothing is left that fasthttp could write
	status := s.ctx.Response.StatusCode()
	b := append(s.Begin(message.Chunked, s.body.ended), "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	b = append(append(b, fasthttp.StatusMessage(status)...), "\r\n"...)
	b = message.AppendDate(b, time.Now())
	for name, value := range s.ctx.Response.Header.All() {
		if !framing(name) {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	s.EndHeader(b, status)
	if s.Request.Head {
		return s.Flush()
	}
	w := &bodyWriter{s: s}
	if _, err := body.WriteTo(w); err != nil {
		if w.why == reason.None {
			w.why, s.Cause = reason.InternalError, err
		}
		return w.why
	}
	s.EndBody(&message.Response{}, &message.Trailers{})
	return s.Flush()
}

// framing reports whether a field of fasthttp's is about the connection or the framing, which are the
// stream's.
func framing(name []byte) bool {
	switch string(name) {
	case fasthttp.HeaderContentLength, fasthttp.HeaderTransferEncoding, fasthttp.HeaderConnection, fasthttp.HeaderDate:
		return true
	}
	return false
}

// bodyWriter sends each write as a part of a response's body.
type bodyWriter struct {
	s   *Stream
	why reason.Code // why a write has failed
}

// Write sends p. It returns an error if the client did not take all of it.
func (w *bodyWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		room := w.s.Room()
		m := copy(room[len(room):cap(room)], p[n:])
		w.s.Add(room[:len(room)+m])
		n += m
		if w.why = w.s.Flush(); w.why != reason.None {
			return n, io.ErrClosedPipe
		}
	}
	return n, nil
}
