package http1

import (
	"errors"
	"fmt"
	"io"
	"time"

	"loadbalancer/proxy/wire"
)

// What went wrong, for an operator to read. None of it has a byte of the request: it may be secret.
var (
	errRequestLines   = errors.New("the first line is not a request line, or a line of the header ends without CR")
	errRequestHeader  = errors.New("the header ended early or is not valid HTTP/1.1")
	errHeaderSize     = errors.New("the header is larger than server.max_header_size")
	errHeaderLate     = errors.New("the header did not arrive within server.read_header_timeout")
	errClosedEarly    = errors.New("the backend closed the connection before it responded")
	errBackendOut     = errors.New("the backend was taken out while the request waited for a response")
	errClosedInHeader = errors.New("the backend closed the connection within the response header")
	errClosedInBody   = errors.New("the backend closed the connection within the response body")
	errResponseSize   = errors.New("the response header is larger than the pool's max_response_header")
	errInterims       = errors.New("the backend sent more than 64 interim responses")
	errSwitch         = errors.New("the backend switched to a protocol that the request did not ask for")
	errRequestBody    = errors.New("the chunked coding of the request body is invalid")
	errResponseBody   = errors.New("the chunked coding of the response body is invalid")
	errEnding         = errors.New("the load balancer ends and reads no more of the request body")
	errClientClosed   = errors.New("the client closed the connection within the request body")
)

// unanswered puts into words why a response's header did not come within the time wait. arrived
// reports whether a byte of it has.
func unanswered(err error, wait time.Duration, arrived bool) error {
	switch {
	case wire.TimedOut(err):
		return fmt.Errorf("no response header came within %s", wait)
	case errors.Is(err, errResponseHeader), errors.Is(err, errResponseSize):
		return err
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read from the backend: %w", err)
	case arrived:
		return errClosedInHeader
	}
	return errClosedEarly
}

// broken puts into words why the rest of a response's body did not come.
func broken(err error, timeout time.Duration) error {
	switch {
	case wire.TimedOut(err):
		return fmt.Errorf("nothing of the response body came for %s", timeout)
	case errors.Is(err, errResponseHeader): // its status was read before the fault
		return err
	case errors.Is(err, errChunk), errors.Is(err, errLine):
		return errResponseBody
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosedInBody
	}
	return fmt.Errorf("read from the backend: %w", err)
}

// unsent puts into words why a backend did not take a request.
func unsent(err error, timeout time.Duration) error {
	if wire.TimedOut(err) {
		return fmt.Errorf("the backend took nothing of the request for %s", timeout)
	}
	return fmt.Errorf("write to the backend: %w", err)
}

// unread puts into words why a request's body did not come.
func unread(err error, timeout time.Duration) error {
	switch {
	case wire.TimedOut(err):
		return fmt.Errorf("nothing of the request body came for %s", timeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errClientClosed
	case errors.Is(err, errChunk), errors.Is(err, errLine):
		return errRequestBody
	}
	return fmt.Errorf("read from the client: %w", err)
}

// untaken puts into words why a client did not take a response.
func untaken(err error, timeout time.Duration) error {
	if wire.TimedOut(err) {
		return fmt.Errorf("the client took nothing of the response for %s", timeout)
	}
	return fmt.Errorf("write to the client: %w", err)
}
