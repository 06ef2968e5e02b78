package http2

import (
	"errors"
	"fmt"
	"time"

	"loadbalancer/proxy/mux"
	"loadbalancer/proxy/wire"
)

// What went wrong at a backend, for an operator to read.
var (
	errBackendOut  = errors.New("the backend was taken out while the request waited for a response")
	errField       = errors.New("the response header is not valid: a field of the connection, or two lengths, or a body that does not come")
	errBodyLength  = errors.New("the response body is longer or shorter than its Content-Length says")
	errBadTrailers = errors.New("the trailers of the response are not valid, or larger than 16 KiB")
)

// isMalformed reports whether an error is that of a response that is not valid.
func isMalformed(err error) bool {
	if _, ok := errors.AsType[mux.MalformedError](err); ok {
		return true
	}
	return errors.Is(err, errBodyLength) || errors.Is(err, errBadTrailers)
}

// cause puts into words why the response, or the rest of it, did not come.
func (c *Call) cause(err error) error {
	bad, malformed := errors.AsType[mux.MalformedError](err)
	switch {
	case malformed && bad.Unwrap() == nil:
		return errField
	case wire.TimedOut(err) && c.Response.Status >= 200:
		return fmt.Errorf("nothing of the response body came for %s", c.stream.Limits.BodyTimeout)
	case wire.TimedOut(err):
		return fmt.Errorf("no response header came within %s", c.wait)
	}
	return err
}

// unsent puts into words why a backend did not take a request.
func unsent(err error, timeout time.Duration) error {
	if wire.TimedOut(err) {
		return fmt.Errorf("the backend took nothing of the request for %s", timeout)
	}
	return err
}
