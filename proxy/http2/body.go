package http2

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"loadbalancer/proxy/message"
	"loadbalancer/proxy/reason"
	"loadbalancer/proxy/wire"
)

// body reads the body of a request up to its end.
type body struct {
	from    *http.Request
	timeout time.Duration // longest pause between two reads
	framing message.Framing
	length  int64 // of a fixed-length body
	data    int64 // bytes read so far
	ended   bool  // the whole body has been read

	pump     *pump  // nil: there is no body
	have     []byte // what the pump has read and is not used yet
	err      error  // what the pump has met after that
	trailers message.Trailers
}

func newBody(from *http.Request, r *message.Request, timeout time.Duration) body {
	b := body{from: from, timeout: timeout, framing: r.Framing, length: r.Length, ended: r.Framing == message.NoBody}
	if !b.ended {
		b.pump = newPump()
	}
	return b
}

// What went wrong, for an operator to read.
var (
	errTrailers    = errors.New("the trailers are not valid, or too many")
	errClientReset = errors.New("the client reset the stream, or closed the connection, within the request body")
	errGone        = errors.New("the client reset the stream, or closed the connection")
	errLength      = errors.New("the request body does not have the length that its Content-Length says")
)

// Proceed is that of ends.Incoming. net/http sends 100 Continue with the first read.
func (s *Stream) Proceed() reason.Code { return reason.None }

// HasReadBody is that of ends.Incoming.
func (s *Stream) HasReadBody() bool { return s.body.ended }

// BodyTrailers is that of ends.Incoming.
func (s *Stream) BodyTrailers() *message.Trailers { return &s.body.trailers }

// SetBodyTimeout is that of ends.Incoming.
func (s *Stream) SetBodyTimeout(d time.Duration) { s.body.timeout = d }

// StopBody is that of ends.Incoming.
func (s *Stream) StopBody() { s.body.pump.interrupt() }

// ResumeBody is that of ends.Incoming.
func (s *Stream) ResumeBody() { s.body.pump.resume() }

// ReadBody is that of ends.Incoming.
func (s *Stream) ReadBody(dst []byte) ([]byte, error) {
	b, room := &s.body, cap(dst)-len(dst)
	if b.ended || room == 0 {
		return dst, nil
	}
	if len(b.have) == 0 && b.err == nil {
		if !b.wait() {
			return dst, os.ErrDeadlineExceeded
		}
	}
	n := min(len(b.have), room)
	dst = append(dst, b.have[:n]...)
	b.have, b.data = b.have[n:], b.data+int64(n)
	if len(b.have) == 0 {
		return dst, b.mayEnd(n)
	}
	return dst, nil
}

// mayEnd notes the end of the body, if what was read is all of it. n is how much that was just now:
// an error comes after the bytes before it.
func (b *body) mayEnd(n int) error {
	switch {
	case b.framing == message.FixedLength && b.data == b.length:
		b.ended = true
	case b.err == io.EOF && b.framing == message.FixedLength:
		return errLength
	case b.err == io.EOF:
		b.ended = true
		return b.readTrailers()
	case n == 0:
		return b.err
	}
	return nil
}

// wait waits for what the pump reads. ok is false if that takes too long or is stopped.
func (b *body) wait() (ok bool) {
	n, err, ok := b.pump.read(b.from.Body, b.timeout)
	if ok {
		b.have, b.err = b.pump.buf[:n], err
	}
	return ok
}

// readTrailers takes over the trailers that the request has declared.
func (b *body) readTrailers() error {
	var line []byte
	for _, name := range slices.Sorted(maps.Keys(b.from.Trailer)) {
		for _, value := range b.from.Trailer[name] {
			line = appendLine(line[:0], name, value)
			if !b.trailers.Add(line[:len(line)-len("\r\n")]) {
				return errTrailers
			}
		}
	}
	return nil
}

// Unread is that of ends.Incoming.
func (s *Stream) Unread(err error) (reason.Code, error) {
	switch {
	case wire.TimedOut(err):
		return reason.RequestTimeout, fmt.Errorf("nothing of the request body came for %s", s.Limits.BodyTimeout)
	case err == errTrailers, err == errLength:
		return reason.BadRequest, err
	case strings.Contains(err.Error(), "Content-Length"): // net/http has no error of its own for it
		return reason.BadRequest, errLength
	}
	return reason.ClientGone, errClientReset
}

// end ends the reading.
func (b *body) end() {
	if b.pump != nil {
		b.pump.end(b.from.Body)
		b.pump, b.have = nil, nil
	}
}
