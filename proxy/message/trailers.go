package message

// MaxTrailers is the most bytes of trailer lines, with their CRLFs. MaxFields limits their number.
const MaxTrailers = 16 << 10

// Trailers holds the fields after a chunked body, as received (RFC 9110, section 6.5). The zero
// value is empty. It takes memory, at most MaxTrailers, only if there are trailers.
type Trailers struct {
	block  []byte // the lines, each with its CRLF
	fields int

	// Lax allows every byte of Text in a value, as in a response, and not only those of Value.
	Lax bool
}

// Add adds a line without its CRLF. ok is false if it is not a field, or if there are too many.
func (t *Trailers) Add(line []byte) (ok bool) {
	values := Value
	if t.Lax {
		values = Text
	}
	_, ok = parseField(line, values)
	if !ok || t.fields == MaxFields || len(t.block)+len(line)+len("\r\n") > MaxTrailers {
		return false
	}
	t.fields++
	t.block = append(append(t.block, line...), "\r\n"...)
	return true
}

// append appends the trailers that go on to the next hop, in order and case. h belongs to the same
// message. dst grows if they do not fit.
func (t *Trailers) append(dst []byte, h *hop) []byte {
	for block := t.block; len(block) > 0; {
		f, rest := knownField(block)
		if block = rest; passesBehind(&f, h) {
			dst = append(dst, f.line...)
		}
	}
	return dst
}

// passesBehind reports whether a trailer is forwarded. A field that a proxy must understand is not,
// in any spelling: it would mislead a recipient that merges trailers into the header, since no hop
// has checked it (RFC 9110, section 6.5.1).
func passesBehind(f *field, h *hop) bool {
	return dashedKind(f.name).ordinary() && !h.keeps(f.name) && !h.drops(f)
}

// CallStatus returns the status of a call of gRPC, or -1.
func (t *Trailers) CallStatus() int { return callStatus(t.block) }
