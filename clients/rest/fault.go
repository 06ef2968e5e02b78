package rest

import (
	"fmt"
	"net/http"
	"strings"
)

// Code is the kind of a Fault. It determines the HTTP status of the response.
type Code int

// The kinds of faults, each with the status of its response.
const (
	Malformed   Code = iota // 400: the request cannot be read
	TooLarge                // 413: the body is longer than MaxBody, or a line than MaxLine
	NotFound                // 404: what the path names does not exist
	Exists                  // 409: what the request creates exists already, or what it deletes is in use
	Invalid                 // 422: the request can be read, but a value in it is not allowed
	Unavailable             // 503: the service cannot do it now; see Fault.RetryAfter
	Late                    // 408: the body did not come in time
	Changed                 // 412: If-Match names another version than the present one
	Unsupported             // 415: the body has another media type than the call reads
	OldProtocol             // 505: the response needs HTTP/1.1
)

// status returns the HTTP status of a code. No other function maps codes to statuses.
func (c Code) status() int {
	switch c {
	case Malformed:
		return http.StatusBadRequest
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case NotFound:
		return http.StatusNotFound
	case Exists:
		return http.StatusConflict
	case Invalid:
		return http.StatusUnprocessableEntity
	case Unavailable:
		return http.StatusServiceUnavailable
	case Late:
		return http.StatusRequestTimeout
	case Changed:
		return http.StatusPreconditionFailed
	case Unsupported:
		return http.StatusUnsupportedMediaType
	case OldProtocol:
		return http.StatusHTTPVersionNotSupported
	default:
		panic(fmt.Sprintf("BUG: no status for code %d", c))
	}
}

// Fault is an error that a call returns to its caller.
type Fault struct {
	Code    Code
	Message string // shown to the caller
	Field   string // the offending field or parameter, "" if there is none
	Cause   error  // logged and never shown, may be nil

	// Members are more members of the problem (RFC 9457, section 3.2), such as "outcome": "unknown".
	// Their values must be fit for JSON, and their names must not be those of a problem.
	Members    map[string]any
	RetryAfter int // seconds after which the caller may try again; 0: it is not told
}

// Error returns the message.
func (f *Fault) Error() string { return f.Message }

// Missing returns the fault of a required field that the request lacks.
func Missing(field string) *Fault {
	return &Fault{Code: Invalid, Field: field, Message: fmt.Sprintf("the field %q is missing", field)}
}

// Wrong returns the fault of a field or parameter whose value is not allowed. The value becomes
// part of the message as it is: see Quote and Shorten.
func Wrong(field, value, allowed string) *Fault {
	return &Fault{Code: Invalid, Field: field,
		Message: fmt.Sprintf("%s is %s; allowed is %s", field, value, allowed)}
}

// Quote returns a value that the caller sent as a quoted string, shortened for a message.
func Quote(value string) string { return fmt.Sprintf("%q", Shorten(value)) }

// Shorten returns the first 100 bytes of a longer value, without a cut rune, and an ellipsis.
func Shorten(value string) string {
	const longest = 100 // bytes
	if len(value) <= longest {
		return value
	}
	return strings.ToValidUTF8(value[:longest], "") + "…"
}
