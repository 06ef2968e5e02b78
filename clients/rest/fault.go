package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/valyala/fasthttp"
)

// Code is the kind of a fault.
type Code int

// The kinds of faults.
const (
	Malformed Code = iota
	TooLarge
	NotFound
	Exists
	Invalid
	Unavailable
)

// status returns the HTTP status of a code. This is the one place that knows.
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
	default:
		panic(fmt.Sprintf("BUG: no status for code %d", c))
	}
}

// Fault is why a call was refused, in words for the caller.
type Fault struct {
	Code    Code
	Message string
	Field   string // the offending field or parameter, "" if there is none
	Cause   error  // for the log only, may be nil
}

// Error returns the message.
func (f *Fault) Error() string { return f.Message }

// Wrong is the fault of a value that is not allowed.
func Wrong(field, value, allowed string) *Fault {
	return &Fault{Code: Invalid, Field: field, Message: fmt.Sprintf("%s is %s; allowed is %s", field, value, allowed)}
}

// Missing is the fault of a field that has to be there.
func Missing(field string) *Fault {
	return &Fault{Code: Invalid, Field: field, Message: fmt.Sprintf("the field %q is missing", field)}
}

// Quote shows what a caller sent, cut to a length that is fit for a message.
func Quote(value string) string { return fmt.Sprintf("%q", Shorten(value)) }

// Shorten cuts a value to a length that is fit for a message.
func Shorten(value string) string {
	const longest = 100 // bytes
	if len(value) <= longest {
		return value
	}
	return strings.ToValidUTF8(value[:longest], "") + "…"
}

// problem is the body of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`
}

// WriteProblem makes the response an application/problem+json (RFC 9457) with the given HTTP status. The detail
// is for the caller to read; field names the offending field or parameter, "" leaves it out. Header fields that
// are set already stay.
func WriteProblem(ctx *fasthttp.RequestCtx, status int, field, detail string) {
	writeBody(ctx, status, "application/problem+json", problem{
		Type:   "about:blank",
		Title:  title(status),
		Status: status,
		Detail: detail,
		Field:  field,
	})
}

// title is http.StatusText with the names of RFC 9110, section 15.5.
func title(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "Content Too Large"
	case http.StatusUnprocessableEntity:
		return "Unprocessable Content"
	default:
		return http.StatusText(status)
	}
}

// WriteJSON makes the response the JSON of value with the given HTTP status.
func WriteJSON(ctx *fasthttp.RequestCtx, status int, value any) {
	writeBody(ctx, status, "application/json", value)
}

func writeBody(ctx *fasthttp.RequestCtx, status int, contentType string, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // the body is never HTML, and "<" is easier to read than "\u003c"
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", value, err))
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType(contentType)
	ctx.SetBody(body.Bytes())
}
