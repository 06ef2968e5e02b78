package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/valyala/fasthttp"
)

// Cause is why a request got no complete response.
type Cause string

// The causes. Their names are part of the JSON report.
const (
	ConnectRefused   Cause = "connect_refused"     // nothing listens there
	ConnectTimeout   Cause = "connect_timeout"     // no connection within the timeout
	ConnectFailed    Cause = "connect_failed"      // no connection for any other reason
	TooManyOpenFiles Cause = "too_many_open_files" // this process may not open another connection
	NoFreePort       Cause = "no_free_port"        // every local port is in use or in TIME_WAIT
	WriteTimeout     Cause = "write_timeout"       // the request could not be sent within the timeout
	ReadTimeout      Cause = "read_timeout"        // the response was not complete within the timeout
	Reset            Cause = "reset"               // the connection was reset (RST)
	EOF              Cause = "eof"                 // closed before the first byte of the response
	StaleConnection  Cause = "stale_connection"    // closed or reset before the first byte, after earlier responses
	Truncated        Cause = "truncated"           // closed in the middle of the response
	BadResponse      Cause = "bad_response"        // what came is not an HTTP/1 response
)

// phase is how far an exchange had come.
type phase int

const (
	connecting phase = iota
	writing
	waiting // for the first byte of the response
	reading
)

// failure is an exchange without a complete response.
type failure struct {
	phase  phase
	reused bool // the connection had carried a response before
	err    error
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the error of the network or of the parser.
func (f *failure) Unwrap() error { return f.err }

// cause classifies the failure.
func (f *failure) cause() Cause {
	switch {
	case errors.Is(f.err, syscall.EMFILE), errors.Is(f.err, syscall.ENFILE):
		return TooManyOpenFiles
	case f.phase == connecting:
		return connectCause(f.err)
	case isTimeout(f.err) && f.phase == writing:
		return WriteTimeout
	case isTimeout(f.err):
		return ReadTimeout
	}
	gone := isReset(f.err)
	ended := errors.Is(f.err, io.EOF) || errors.Is(f.err, io.ErrUnexpectedEOF)
	switch {
	case f.phase != reading && f.reused && (gone || ended):
		return StaleConnection
	case gone:
		return Reset
	case ended && f.phase == reading:
		return Truncated
	case ended:
		return EOF
	}
	return BadResponse
}

func connectCause(err error) Cause {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectRefused
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return NoFreePort
	case isTimeout(err):
		return ConnectTimeout
	}
	return ConnectFailed
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, fasthttp.ErrTimeout) || errors.As(err, &timeout) && timeout.Timeout()
}

// isReset also accepts a broken pipe: a write after the peer's reset.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
