package rest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// boundSilence has a connection wait for its peer as long as the peer sends or takes something within
// each 30 s, and no longer end the call as a whole by a time. A connection that does so anyway has
// nothing to do.
func boundSilence(conn net.Conn) {
	if c, ok := conn.(interface{ BoundSilence() }); ok {
		c.BoundSilence()
	}
}

// Stream makes the response a body of any length, which produce writes once the handler has
// returned. What it writes is sent in parts of up to 32 KiB, and at each Flush; no more is held. A
// client that takes nothing for 30 s (on the proxy's listener: server.body_timeout), or has gone,
// makes writes fail: produce must return at the first error. If it returns one, or panics, that is
// logged, and the connection ends without the end of the body, so that the client can tell: what may
// well fail is better done before Stream, where a Fault still becomes an answer. produce is not
// called for HEAD. Stream returns a Fault to a client of HTTP/1.0, which knows no body of
// unknown length.
func Stream(ctx *fasthttp.RequestCtx, contentType string, produce func(w *bufio.Writer) error) error {
	if !ctx.Request.Header.IsHTTP11() {
		return &Fault{Code: OldProtocol, Message: "the response is of unknown length, which needs HTTP/1.1"}
	}
	ctx.SetContentType(contentType)
	ctx.Response.SetBodyStream(&streamed{produce: produce, path: string(ctx.Path()), conn: ctx.Conn()}, unknownLength)
	return nil
}

const unknownLength = -1 // as fasthttp has it

// sendSize is how much of a streamed response is sent at once, in bytes.
const sendSize = 32 << 10

// streamed is the body of a response that Stream has made. The server calls WriteTo.
type streamed struct {
	produce func(*bufio.Writer) error
	path    string
	conn    net.Conn
	log     zerolog.Logger // set by Handler
}

// SupportsBodyWriteTo tells fasthttp to call WriteTo.
func (*streamed) SupportsBodyWriteTo() bool { return true }

// Read is never called.
func (*streamed) Read([]byte) (int, error) { panic("BUG: a streamed response is read") }

// WriteTo writes the body. It logs what went wrong unless the client is to blame.
func (s *streamed) WriteTo(to io.Writer) (n int64, err error) {
	boundSilence(s.conn)
	w := &noting{to: to}
	defer func() {
		if fault := recover(); fault != nil {
			err = errPanic
			s.log.Error().Str("fault", fmt.Sprint(fault)).Bytes("stack", debug.Stack()).Str("path", s.path).
				Msg("panic while a response was streamed, which is cut; please report it")
		}
	}()
	b := bufio.NewWriterSize(w, sendSize)
	if err = s.produce(b); err == nil {
		err = b.Flush()
	}
	if err != nil && w.err == nil {
		cause := err
		if f, ok := errors.AsType[*Fault](err); ok && f.Cause != nil {
			cause = f.Cause
		}
		s.log.Error().Err(cause).Str("path", s.path).Msg("call failed, and its streamed response is cut")
	}
	return w.written, err
}

var errPanic = errors.New("panic")

// noting passes on what is written, and notes whether that has failed.
type noting struct {
	to      io.Writer
	written int64
	err     error
}

func (w *noting) Write(p []byte) (n int, err error) {
	n, err = w.to.Write(p)
	w.written += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}
