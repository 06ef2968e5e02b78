package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"loadbalancer/proxy/ends"
	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
)

// requestCtx returns a request that fasthttp has not read as one that it has, without its body.
func requestCtx(s ends.Stream, conn net.Conn) (*fasthttp.RequestCtx, error) {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(conn, nil, false)
	r, h := &s.Request, &ctx.Request.Header
	text := bytes.Join([][]byte{r.Method, r.Target, []byte("HTTP/1.1\r\n")}, []byte(" "))
	text = append(append(text, r.Header...), "\r\n"...)
	if err := h.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text))); err != nil {
		return nil, err
	}
	ctx.Response.Header.SetNoDefaultContentType(true)
	return ctx, nil
}

// answerPlainly sends the response that a handler has made, whose body is at hand.
func answerPlainly(s ends.Stream, made *fasthttp.Response) reason.Code {
	status, body := made.StatusCode(), made.Body()
	b := appendMadeHeader(s.Begin(message.FixedLength, s.HasReadBody()), made)
	if status != fasthttp.StatusNoContent {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	s.EndHeader(b, status)
	if s.Request.Head || len(body) == 0 {
		s.EndBody(&message.Response{}, &message.Trailers{})
		return s.FlushAhead(0, true)
	}
	return (&bodyWriter{s: s}).end(body)
}

// answerStream sends the response that a handler has made, whose body, of unknown length, writes
// itself. It returns ClientGone if the client did not take all of it, and InternalError if the body
// failed: then the connection has to end without the end of the body.
func answerStream(s ends.Stream, made *fasthttp.Response, body io.WriterTo) reason.Code {
	defer made.Reset() // nothing is left that fasthttp could write
	s.EndHeader(appendMadeHeader(s.Begin(message.Chunked, s.HasReadBody()), made), made.StatusCode())
	w := &bodyWriter{s: s}
	if s.Request.Head {
		return w.end(nil)
	}
	if _, err := body.WriteTo(w); err != nil {
		if w.why == reason.None {
			w.why, s.Cause = reason.InternalError, err
		}
		return w.why
	}
	return w.end(nil)
}

// appendMadeHeader appends the status line and the fields of a response that a handler has made.
func appendMadeHeader(b []byte, made *fasthttp.Response) []byte {
	status := made.StatusCode()
	b = append(strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10), ' ')
	b = append(append(b, fasthttp.StatusMessage(status)...), "\r\n"...)
	b = message.AppendDate(b, time.Now())
	for name, value := range made.Header.All() {
		if !framing(name) {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	return b
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
	s   ends.Stream
	why reason.Code // why a write has failed
}

// Write sends p. It returns an error if the client did not take all of it.
func (w *bodyWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		room := w.s.Room()
		m := copy(room[len(room):cap(room)], p[n:])
		w.s.Add(room[:len(room)+m])
		n += m
		if w.why = w.s.FlushAhead(0, true); w.why != reason.None {
			return n, io.ErrClosedPipe
		}
	}
	return n, nil
}

// end sends p, and that nothing follows.
func (w *bodyWriter) end(p []byte) reason.Code {
	if _, err := w.Write(p); err != nil {
		return w.why
	}
	if !w.s.Request.Head {
		w.s.EndBody(&message.Response{}, &message.Trailers{})
	}
	return w.s.FlushAhead(0, true)
}
