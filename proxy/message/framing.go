package message

import "bytes"

// Framing is how the end of a body is determined (RFC 9112, section 6.3).
type Framing uint8

// The framings.
const (
	NoBody Framing = iota
	FixedLength
	Chunked
	UntilClose // for responses only
)

// framingFields holds the fields that frame a response's body. The zero value holds none.
type framingFields struct {
	length   []byte // the value of Content-Length as received; nil if absent
	bytes    int64  // the same value as a number
	repeated bool   // Content-Length came more than once
	codings  int    // number of fields that say chunked
}

// addLength adds the value of a Content-Length. The value may be a list and the field may be
// repeated, as long as all values are the same: some servers add the field although the application
// has set it (RFC 9110, section 8.6). ok is false if a value is not a length or differs from the
// others.
func (f *framingFields) addLength(list []byte) (ok bool) {
	for more := true; more; {
		var length []byte
		length, list, more = bytes.Cut(list, comma)
		length = trimSpace(length)
		n, ok := parseLength(length)
		switch {
		case !ok:
			return false
		case f.length == nil:
			f.length, f.bytes = length, n
		case !bytes.Equal(length, f.length):
			return false
		default:
			f.repeated = true
		}
	}
	return true
}

// lengthOnce returns a copy of a header's lines with a single Content-Length that has a single
// value.
func (f *framingFields) lengthOnce(lines []byte) []byte {
	dst := make([]byte, 0, len(lines))
	written := false
	for len(lines) > 0 {
		line, rest := knownField(lines)
		lines = rest
		switch {
		case line.kind != kindContentLength:
			dst = append(dst, line.line...)
		case !written:
			written = true
			dst = append(append(dst, line.name...), ": "...)
			dst = append(append(dst, f.length...), "\r\n"...)
		}
	}
	return dst
}

// framing returns how the body is framed, by the rules of RFC 9112, section 6.3, in their order. ok
// is false if two readers could disagree on the end of the response: if more than one field frames
// it, or if an interim response announces a body, since what follows may be that body or the final
// response. A 101 passes: the bytes that follow belong to one client only.
func (f *framingFields) framing(status int, head bool) (how Framing, ok bool) {
	switch {
	case f.codings > 1, f.codings == 1 && f.length != nil:
		return NoBody, false
	case status < 200:
		return NoBody, status == SwitchingProtocols || !f.announceBody(status, head)
	case head, status == 204, status == 304:
		return NoBody, true
	case f.codings == 1:
		return Chunked, true
	case f.length != nil:
		return FixedLength, true
	}
	return UntilClose, true
}

// announceBody reports whether the header of a response without a body announces one. Some backends
// then send it, and it would be taken for the response to the next request on the connection. A
// response to HEAD also announces a body if it has no length, unless its status allows none: the
// same response to GET would end with the connection.
func (f *framingFields) announceBody(status int, head bool) bool {
	bodiless := status < 200 || status == 204 || status == 304
	return f.codings > 0 || f.bytes > 0 || head && f.length == nil && !bodiless
}
