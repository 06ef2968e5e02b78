package proxy

import "cmp"

// maxTrailers is the most bytes of trailer lines, with their CRLFs; maxFields limits their number.
const maxTrailers = 16 << 10

// trailers holds the fields after a chunked body, as received (RFC 9110, section 6.5). The zero
// value is empty. It takes memory, at most maxTrailers, only if there are trailers.
type trailers struct {
	block  []byte // the lines, each with its CRLF
	fields int
	values uint8 // the class of the bytes in values; 0: classValue
}

// add adds a line without its CRLF. ok is false if it is not a field, or if there are too many.
func (t *trailers) add(line []byte) (ok bool) {
	_, ok = parseField(line, cmp.Or(t.values, classValue))
	if !ok || t.fields == maxFields || len(t.block)+len(line)+len("\r\n") > maxTrailers {
		return false
	}
	t.fields++
	t.block = append(append(t.block, line...), "\r\n"...)
	return true
}

// appendLastChunk ends a chunked body for the next hop, with its trailers in order and case, except
// those that end at this hop. hop belongs to the same message. dst grows if the trailers do not
// fit.
func (t *trailers) appendLastChunk(dst []byte, hop *hopOptions) []byte {
	if len(t.block) == 0 {
		return append(dst, lastChunk...)
	}
	dst = append(dst, "0\r\n"...)
	for block := t.block; len(block) > 0; {
		f, rest := knownField(block)
		if block = rest; passesBehind(&f, hop) {
			dst = append(dst, f.line...)
		}
	}
	return append(dst, "\r\n"...)
}

// passesBehind reports whether a trailer is forwarded. A field that a proxy must understand is not,
// in any spelling: it would mislead a recipient that merges trailers into the header, since no hop
// has checked it (RFC 9110, section 6.5.1).
func passesBehind(f *field, hop *hopOptions) bool {
	return dashedKind(f.name) == kindOther && !hop.keeps(f.name) && !hop.drops(f)
}
