package message

import (
	"net/http"
	"time"
)

// AppendDate appends the Date of an answer that the balancer itself gives (RFC 9110, section
// 6.6.1). A backend's response keeps its own Date, or has none.
func AppendDate(dst []byte, now time.Time) []byte {
	dst = append(dst, "Date: "...)
	return append(now.UTC().AppendFormat(dst, http.TimeFormat), "\r\n"...)
}
