package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// code is the kind of a fault.
type code int

const (
	malformed code = iota
	tooLarge
	notFound
	exists
	invalid
	unavailable
)

// status returns the HTTP status of a code. This is the one place that knows.
func (c code) status() int {
	switch c {
	case malformed:
		return http.StatusBadRequest
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	case notFound:
		return http.StatusNotFound
	case exists:
		return http.StatusConflict
	case invalid:
		return http.StatusUnprocessableEntity
	case unavailable:
		return http.StatusServiceUnavailable
	default:
		panic(fmt.Sprintf("BUG: no status for code %d", c))
	}
}

// fault is why a call was refused, in words for the caller.
type fault struct {
	code    code
	message string
	field   string // the offending field or parameter, "" if there is none
	cause   error  // for the log only, may be nil
}

func (f *fault) Error() string { return f.message }

func wrongValue(field, value, allowed string) *fault {
	return &fault{code: invalid, field: field, message: fmt.Sprintf("%s is %s; allowed is %s", field, value, allowed)}
}

// quote shows what a caller sent, cut to a length that is fit for a message.
func quote(value string) string { return fmt.Sprintf("%q", shorten(value)) }

func shorten(value string) string {
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

func writeFault(ctx *fasthttp.RequestCtx, log zerolog.Logger, f *fault) {
	if f.cause != nil {
		log.Error().Err(f.cause).Bytes("method", ctx.Method()).Bytes("path", ctx.Path()).
			Int("status", f.code.status()).Msg("call failed")
	}
	WriteProblem(ctx, f.code.status(), f.field, f.message)
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
