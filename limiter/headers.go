package limiter

import (
	"strconv"
	"time"
)

// AppendFields appends the header fields that tell the client about the decision, each ended by
// CRLF: RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10) and, if the
// request was rejected, Retry-After (RFC 9110, section 10.2.3). All times are in seconds, rounded
// up, so that a client that waits for so long is let through. It allocates only to grow dst.
//
// The draft leaves open what t counts to; here it is the next whole token.
func (d Decision) AppendFields(dst []byte) []byte {
	dst = append(dst, `RateLimit-Policy: "default";q=`...)
	dst = strconv.AppendInt(dst, d.Capacity, 10)
	dst = append(dst, ";w="...)
	dst = appendSeconds(dst, d.Window)
	dst = append(dst, "\r\nRateLimit: \"default\";r="...)
	dst = strconv.AppendInt(dst, d.Remaining, 10)
	dst = append(dst, ";t="...)
	dst = appendSeconds(dst, d.Reset)
	dst = append(dst, "\r\n"...)
	if !d.Allowed {
		dst = append(dst, "Retry-After: "...)
		dst = appendSeconds(dst, d.RetryAfter)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendSeconds appends the duration in seconds, rounded up. Those of a Decision are above 0, so
// that the least is 1.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendInt(dst, int64((d+time.Second-1)/time.Second), 10)
}
