package proxy

import (
	"time"

	"github.com/valyala/fasthttp"
)

// appendDate appends the Date of an answer that the balancer itself gives (RFC 9110, section
// 6.6.1). A backend's response keeps its own Date, or has none.
func appendDate(dst []byte, now time.Time) []byte {
	dst = append(dst, "Date: "...)
	return append(fasthttp.AppendHTTPDate(dst, now), "\r\n"...)
}
