package http2

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"loadbalancer/proxy/mux"
)

// appendRequest appends the fields of a request's header, which is a block of HTTP/1 that the road
// has made: first the pseudo-fields, then the others in their order, without those of the
// connection (RFC 9113, section 8.3.1).
func appendRequest(dst []hpack.HeaderField, block []byte, secure bool) []hpack.HeaderField {
	text := string(block) // the fields are parts of it
	line, rest, _ := strings.Cut(text, "\r\n")
	method, line, _ := strings.Cut(line, " ")
	path := strings.TrimSuffix(line, " HTTP/1.1")
	scheme := "http"
	if secure {
		scheme = "https"
	}
	dst = append(dst, hpack.HeaderField{Name: ":method", Value: method}, hpack.HeaderField{Name: ":scheme", Value: scheme},
		hpack.HeaderField{Name: ":path", Value: path}, hpack.HeaderField{Name: ":authority"})
	authority := len(dst) - 1
	dst = listFields(dst, rest)
	for i := authority + 1; i < len(dst); i++ {
		if dst[i].Name == "host" {
			dst[authority].Value = dst[i].Value
			dst = append(dst[:i], dst[i+1:]...)
			break
		}
	}
	return dst
}

// listFields appends the fields of lines, without those of the connection. Credentials go into no
// table: the requests of several clients share it (RFC 7541, section 7.1.3).
func listFields(dst []hpack.HeaderField, lines string) []hpack.HeaderField {
	for lines != "" && lines != "\r\n" {
		var line string
		line, lines, _ = strings.Cut(lines, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		if name = lowerName(name); !ofConnection(name) {
			dst = append(dst, hpack.HeaderField{Name: name, Value: strings.Trim(value, " \t"), Sensitive: name == "authorization"})
		}
	}
	return dst
}

// lowerName returns a name in lower case. Those that come often are not allocated.
func lowerName(name string) string {
	if known, ok := lowerNames[name]; ok {
		return known
	}
	return strings.ToLower(name)
}

var lowerNames = func() map[string]string {
	known := map[string]string{}
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length",
		"Content-Type", "Cookie", "Host", "Origin", "Referer", "TE", "Transfer-Encoding", "User-Agent", "X-Forwarded-For",
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
	} {
		known[name] = strings.ToLower(name)
	}
	return known
}()

// ofConnection reports whether a field is about a connection of HTTP/1, and stands in no message of
// HTTP/2 (RFC 9113, section 8.2.2).
func ofConnection(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

// appendResponse appends the header of a response as a block of HTTP/1. Its framing is as certain as
// in HTTP/2: a response without a length is chunked, or has the length 0 where it ends at once. ok
// is false if a field must not be in it.
func appendResponse(dst []byte, h *mux.Header, head bool) (_ []byte, ok bool) {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(h.Status), 10)
	dst = append(dst, "\r\n"...)
	hasLength := false
	for _, f := range h.Fields {
		if ofConnection(f.Name) || f.Name == "te" {
			return dst, false
		}
		hasLength = hasLength || f.Name == "content-length"
		dst = append(appendLine(dst, f), "\r\n"...)
	}
	bodiless := head || h.Status < 200 || h.Status == 204 || h.Status == 304
	switch {
	case bodiless || hasLength:
	case h.Ends:
		dst = append(dst, "content-length: 0\r\n"...)
	default:
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	}
	return append(dst, "\r\n"...), true
}

// appendLine appends a field as a line without its end.
func appendLine(dst []byte, f hpack.HeaderField) []byte {
	dst = append(append(dst, f.Name...), ": "...)
	return append(dst, f.Value...)
}

// trailerFields returns trailers, which are lines, as fields.
func trailerFields(lines []byte) []hpack.HeaderField {
	return listFields(nil, string(bytes.TrimSpace(lines)))
}
