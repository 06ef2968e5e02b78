package proxy

import "bytes"

// framingFields are the fields of a response that frame its body. The zero value has
// none.
type framingFields struct {
	length   []byte // the value of Content-Length, as received; nil: there is none
	bytes    int64  // the same as a number
	repeated bool   // Content-Length came more than once
	codings  int    // fields that say chunked
}

// addLength takes the value of a Content-Length. It may be a list, and the field may
// come again, as long as all values are the same: some servers add the field that the
// application has set already (RFC 9110, section 8.6). ok is false where one is not a
// length or differs from the others.
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

// lengthOnce returns a copy of a header's lines in which the first Content-Length has
// the value once, and the others are gone.
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

// framing tells how the body is framed, by the rules of RFC 9112, section 6.3, in
// their order. ok is false where two readers may find two ends of the response: with
// more than one field that frames it, and in an interim response that announces a
// body, because what follows may be that as well as the final response. 101 passes:
// what follows belongs to one client alone.
func (f *framingFields) framing(status int, head bool) (how framing, ok bool) {
	switch {
	case f.codings > 1, f.codings == 1 && f.length != nil:
		return noBody, false
	case status < 200:
		return noBody, status == switchingProtocols || !f.announceBody(status, head)
	case head, status == 204, status == 304:
		return noBody, true
	case f.codings == 1:
		return chunked, true
	case f.length != nil:
		return fixedLength, true
	}
	return untilClose, true
}

// announceBody reports whether a response without a body has a header that announces
// one. Some backends then send it, and it would be taken for the answer to the next
// request on the connection. The answer to HEAD announces a body without a length
// too: the same answer to GET has one that ends with the connection, unless its
// status allows none.
func (f *framingFields) announceBody(status int, head bool) bool {
	bodiless := status < 200 || status == 204 || status == 304
	return f.codings > 0 || f.bytes > 0 || head && f.length == nil && !bodiless
}
