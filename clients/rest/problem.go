package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/valyala/fasthttp"
)

// problem is the body of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`

	Faults []string `json:"faults,omitempty"`
}

// WriteProblem makes the response an application/problem+json (RFC 9457) with the given HTTP
// status. The detail is for the caller to read. The field names the offending field or parameter,
// and is left out if it is "". Header fields that are already set stay.
func WriteProblem(ctx *fasthttp.RequestCtx, status int, field, detail string) {
	writeBody(ctx, status, "application/problem+json", problem{
		Type:   "about:blank",
		Title:  title(status),
		Status: status,
		Detail: detail,
		Field:  field,
	})
}

// WriteFaults is WriteProblem for a call that has failed for several reasons.
func WriteFaults(ctx *fasthttp.RequestCtx, status int, detail string, faults []string) {
	writeBody(ctx, status, "application/problem+json", problem{
		Type:   "about:blank",
		Title:  title(status),
		Status: status,
		Detail: detail,
		Faults: faults,
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

// WriteJSON makes the response the JSON of value with the given HTTP status. It panics if value
// cannot be encoded. Header fields that are already set stay.
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
