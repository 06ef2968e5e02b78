package proxy

import (
	"time"

	"github.com/valyala/fasthttp"
)

// appendDate appends the Date of an answer of the balancer's own (RFC 9110, section
// 6.6.1). A backend's answer keeps its own, or goes without.
func appendDate(dst []byte, now time.Time) []byte {
	dst = append(dst, "Date: "...)
	return append(fasthttp.AppendHTTPDate(dst, now), "\r\n"...)
}
