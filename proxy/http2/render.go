package http2

import (
	"net/http"
	"slices"
	"strings"
)

// render appends the header block of a request, in lower case and in the order of the names. What
// net/http has taken out of the list is put back in: the authority as Host, and the names of the
// trailers. A Host field beside an authority is left out if it says the same; otherwise the guard
// sees two (RFC 9113, section 8.3.1).
func render(dst []byte, r *http.Request) []byte {
	if r.Host != "" {
		dst = appendLine(dst, "host", r.Host)
	}
	var most [64]string // more names than most headers have
	names := most[:0]
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			if name != "Host" || !strings.EqualFold(value, r.Host) {
				dst = appendLine(dst, name, value)
			}
		}
	}
	if len(r.Trailer) > 0 {
		names = names[:0]
		for name := range r.Trailer {
			names = append(names, name)
		}
		slices.Sort(names)
		dst = appendLine(dst, "trailer", strings.Join(names, ", "))
	}
	return dst
}

// appendLine appends a field, with its name in lower case.
func appendLine(dst []byte, name, value string) []byte {
	start := len(dst)
	dst = append(dst, name...)
	for i, c := range dst[start:] {
		if 'A' <= c && c <= 'Z' {
			dst[start+i] = c | 0x20
		}
	}
	dst = append(append(dst, ": "...), value...)
	return append(dst, "\r\n"...)
}
