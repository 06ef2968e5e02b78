package http1

import (
	"github.com/valyala/fasthttp"
)

// requestCtx is a request as fasthttp has it, which a stream carries along. Only this file and
// server.go look into it.
type requestCtx = fasthttp.RequestCtx

// RequestCtx returns the request as fasthttp has it, without its body, for an answer that is not on
// the hot path: AnswerPlainly sends its Response.
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
