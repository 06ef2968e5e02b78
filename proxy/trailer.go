package proxy

import "cmp"

// maxTrailers bounds the lines behind the last chunk of a body, in bytes with
// their CRLFs; maxFields bounds their number.
const maxTrailers = 16 << 10

// trailers are the fields behind a chunked body, as they came (RFC 9110, section
// 6.5). The zero value is empty; memory, of maxTrailers at most, is taken when
// there are some.
type trailers struct {
	block  []byte // the lines, each with its CRLF
	fields int
	values uint8 // the class of the bytes in values; 0: classValue
}

// add takes a line without its CRLF; ok is false when it is no field, or more than
// there may be.
func (t *trailers) add(line []byte) (ok bool) {
	_, ok = parseField(line, cmp.Or(t.values, classValue))
	if !ok || t.fields == maxFields || len(t.block)+len(line)+len("\r\n") > maxTrailers {
		return false
	}
	t.fields++
	t.block = append(append(t.block, line...), "\r\n"...)
	return true
}

// appendLastChunk ends a chunked body for the next hop: with its trailers, in order
// and case, but for those that end at this hop. hop belongs to the message that
// they came with. dst grows where there is no room for them.
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

// passesBehind reports whether a trailer goes on. What a proxy has to understand
// does not, under any spelling: a recipient that merges trailers into the header
// would be misled by a field that no hop has checked (RFC 9110, section 6.5.1).
func passesBehind(f *field, hop *hopOptions) bool {
	return dashedKind(f.name) == kindOther && !hop.keeps(f.name) && !hop.drops(f)
}
