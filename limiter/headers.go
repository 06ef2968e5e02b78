package limiter

import (
	"strconv"
	"time"
)

// Fields is a set of header fields that tell clients about their limit. The zero value is empty.
type Fields uint8

const (
	standardFields Fields = 1 << iota // those of draft-ietf-httpapi-ratelimit-headers-10
	legacyFields                      // X-RateLimit-Limit, -Remaining and -Reset
)

// fieldsOf returns the fields for a value of limiter.headers.
func fieldsOf(headers string) (f Fields, ok bool) {
	switch headers {
	case "standard":
		return standardFields, true
	case "legacy":
		return legacyFields, true
	case "both":
		return standardFields | legacyFields, true
	case "off":
		return 0, true
	}
	return 0, false
}

// Fields returns the header fields selected by Config.Headers, which must be valid.
func (c Config) Fields() Fields {
	f, _ := fieldsOf(c.Headers)
	return f
}

// Append appends the header fields for the decision to dst, each ended by CRLF, and Retry-After if
// the request was rejected (RFC 9110, section 10.2.3), whichever fields are selected. Times are in
// seconds, rounded up, so that a client that waits that long finds a token. It allocates only to
// grow dst.
//
// The draft leaves open what t counts to; here it is the next whole token. X-RateLimit-Reset, which
// has no specification, counts to the same.
func (f Fields) Append(dst []byte, d Decision) []byte {
	if f&standardFields != 0 {
		dst = append(dst, `RateLimit-Policy: "default";q=`...)
		dst = strconv.AppendInt(dst, d.Capacity, 10)
		dst = append(dst, ";w="...)
		dst = appendSeconds(dst, d.Window)
		dst = append(dst, "\r\nRateLimit: \"default\";r="...)
		dst = strconv.AppendInt(dst, d.Remaining, 10)
		dst = append(dst, ";t="...)
		dst = appendSeconds(dst, d.Reset)
		dst = append(dst, "\r\n"...)
	}
	if f&legacyFields != 0 {
		dst = append(dst, "X-RateLimit-Limit: "...)
		dst = strconv.AppendInt(dst, d.Capacity, 10)
		dst = append(dst, "\r\nX-RateLimit-Remaining: "...)
		dst = strconv.AppendInt(dst, d.Remaining, 10)
		dst = append(dst, "\r\nX-RateLimit-Reset: "...)
		dst = appendSeconds(dst, d.Reset)
		dst = append(dst, "\r\n"...)
	}
	if !d.Allowed {
		dst = append(dst, "Retry-After: "...)
		dst = appendSeconds(dst, d.RetryAfter)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// Standard reports whether RateLimit-Policy and RateLimit are among the fields.
func (f Fields) Standard() bool { return f&standardFields != 0 }

// Legacy reports whether X-RateLimit-Limit, -Remaining and -Reset are among the fields.
func (f Fields) Legacy() bool { return f&legacyFields != 0 }

// appendSeconds appends the duration in seconds, rounded up.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendInt(dst, int64((d+time.Second-1)/time.Second), 10)
}
