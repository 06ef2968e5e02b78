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
}

// WriteProblem makes the response an application/problem+json (RFC 9457) with the given HTTP
// status. The detail is for the caller to read. The field names the offending field or parameter,
// and is left out if it is "". Header fields that are already set stay.
func WriteProblem(ctx *fasthttp.RequestCtx, status int, field, detail string) {
	writeProblem(ctx, status, field, detail, nil)
}

// WriteFaults is WriteProblem for a call that has failed for several reasons.
func WriteFaults(ctx *fasthttp.RequestCtx, status int, detail string, faults []string) {
	writeProblem(ctx, status, "", detail, map[string]any{"faults": faults})
}

// writeProblem is WriteProblem with further members, which follow the others by name.
func writeProblem(ctx *fasthttp.RequestCtx, status int, field, detail string, members map[string]any) {
	body := encode(problem{Type: "about:blank", Title: title(status), Status: status, Detail: detail, Field: field})
	if len(members) > 0 {
		body = bytes.TrimSuffix(body, []byte("}\n"))
		body = append(append(body, ','), encode(members)[len("{"):]...)
	}
	write(ctx, status, "application/problem+json", body)
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
	write(ctx, status, "application/json", encode(value))
}

// encode returns the JSON of value and a line break.
func encode(value any) []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // the body is never HTML, and "<" is easier to read than "\u003c"
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", value, err))
	}
	return body.Bytes()
}

func write(ctx *fasthttp.RequestCtx, status int, contentType string, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(contentType)
	ctx.SetBody(body)
}
