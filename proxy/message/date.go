package message

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is the value of Date in one second.
type date struct {
	second int64 // Unix time
	text   [len(http.TimeFormat)]byte
}

// lastDate is the date that was appended last: under load most requests come within its second.
var lastDate atomic.Pointer[date]

// AppendDate appends the Date of an answer that the balancer itself gives (RFC 9110, section
// 6.6.1). A backend's response keeps its own Date, or has none.
func AppendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &date{second: second}
		now.UTC().AppendFormat(d.text[:0], http.TimeFormat)
		lastDate.Store(d)
	}
	dst = append(dst, "Date: "...)
	dst = append(dst, d.text[:]...)
	return append(dst, "\r\n"...)
}
