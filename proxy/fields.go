package proxy

import (
	"bytes"

	"loadbalancer/limiter"
)

// kind is what a header field means to a proxy.
type kind uint8

const (
	kindOther kind = iota
	kindHopByHop
	kindTE
	kindTrailer
	kindConnection
	kindContentLength
	kindTransferEncoding
	kindHost
	kindExpect
	kindUpgrade
	kindForwardedFor
	kindForwardedProto
	kindForwardedHost
	kindForwarded // Forwarded and all other X-Forwarded-* fields
	kindRealIP
	kindAuthorization
	kindIdempotencyKey
)

// knownName is a field name in lower case and its kind.
type knownName struct {
	name string
	kind kind
}

// knownNames holds the names that a proxy has to know, by length. The hop-by-hop fields are those
// of RFC 9110, section 7.6.1, and older ones that are still in use.
var knownNames = [...][]knownName{
	2:  {{"te", kindTE}},
	4:  {{"host", kindHost}},
	6:  {{"expect", kindExpect}},
	7:  {{"trailer", kindTrailer}, {"upgrade", kindUpgrade}},
	9:  {{"forwarded", kindForwarded}, {"x-real-ip", kindRealIP}},
	10: {{"connection", kindConnection}, {"keep-alive", kindHopByHop}},
	13: {{"authorization", kindAuthorization}},
	14: {{"content-length", kindContentLength}},
	15: {{forwardedFor, kindForwardedFor}, {"idempotency-key", kindIdempotencyKey}},
	16: {{"x-forwarded-host", kindForwardedHost}, {"proxy-connection", kindHopByHop}},
	17: {{"transfer-encoding", kindTransferEncoding}, {"x-forwarded-proto", kindForwardedProto}},
	18: {{"proxy-authenticate", kindHopByHop}},
	19: {{"proxy-authorization", kindHopByHop}},
}

// kindOf returns the kind of a field name, in any case.
func kindOf(name []byte) kind {
	if len(name) < len(knownNames) {
		for i := range knownNames[len(name)] {
			if known := &knownNames[len(name)][i]; equalFold(name, known.name) {
				return known.kind
			}
		}
	}
	if len(name) > 12 && equalFold(name[:12], "x-forwarded-") {
		return kindForwarded
	}
	return kindOther
}

// equalFold compares ASCII without regard to case. lower must be in lower case and as long as b.
func equalFold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// equalDashed is equalFold with _ read as -.
func equalDashed(b []byte, lower string) bool {
	for i := range b {
		c, d := b[i], lower[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != d && !((c == '-' || c == '_') && (d == '-' || d == '_')) {
			return false
		}
	}
	return true
}

// field is one line of a header block: name, colon, value and CRLF, as received.
type field struct {
	line  []byte
	name  []byte
	value []byte // without the white space around it
	kind  kind
}

// nextField splits the first line off a header block and returns the rest. ok is false if the line
// is not a field, if its value has a byte outside the class, or if it does not end in CRLF. At the
// end of the block, f.line is nil.
func nextField(block []byte, values uint8) (f field, rest []byte, ok bool) {
	if len(block) == 0 || len(block) == 2 && block[0] == '\r' && block[1] == '\n' {
		return field{}, nil, true
	}
	end := indexNewline(block)
	if end < 1 || block[end-1] != '\r' {
		return field{}, nil, false
	}
	f, ok = parseField(block[:end-1], values)
	f.line = block[:end+1]
	return f, block[end+1:], ok
}

// knownField is nextField for a block that nextField has accepted: it checks nothing again.
func knownField(block []byte) (f field, rest []byte) {
	end := indexNewline(block)
	if end < 2 {
		return field{}, nil
	}
	f.line = block[:end+1]
	colon := bytes.IndexByte(f.line, ':')
	f.name, f.value = f.line[:colon], trimSpace(f.line[colon+1:end-1])
	f.kind = kindOf(f.name)
	return f, block[end+1:]
}

// parseField parses a line without its CRLF. ok is false if it is not a field of RFC 9112, section
// 5: a token, a colon right after it, and a value of bytes of the class.
func parseField(line []byte, values uint8) (f field, ok bool) {
	colon := 0
	for colon < len(line) && charClass[line[colon]]&classToken != 0 {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return field{}, false
	}
	value := line[colon+1:]
	if !onlyClass(value, values) {
		return field{}, false
	}
	f = field{name: line[:colon], value: trimSpace(value)}
	f.kind = kindOf(f.name)
	return f, true
}

// trimSpace drops the optional white space around a value (RFC 9110, section 5.6.3).
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

const (
	classToken  = 1 << iota // RFC 9110, section 5.6.2: tchar
	classValue              // RFC 9110, section 5.5: field-vchar, space and tab
	classTarget             // a request target's bytes: visible ASCII without #
	classHost               // RFC 3986, section 3.2.2: reg-name
	classText               // all but NUL, CR and LF, which some readers take for the end of a line or value
)

// charClass gives the classes of each byte.
var charClass = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c == '\t' || c == ' ' || c >= 0x80:
			t[c] |= classValue
		case c > ' ' && c < 0x7f:
			t[c] |= classValue
			if c != '#' {
				t[c] |= classTarget
			}
		}
		if c != 0 && c != '\r' && c != '\n' {
			t[c] |= classText
		}
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			t[c] |= classToken | classHost
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= classToken
	}
	for _, c := range "-._~!$&'()*+,;=%" {
		t[c] |= classHost
	}
	return t
}()

// onlyClass reports whether every byte of b is of the class.
func onlyClass(b []byte, class uint8) bool {
	for _, c := range b {
		if charClass[c]&class == 0 {
			return false
		}
	}
	return true
}

// namedBy reports whether a Connection field's value lists the name.
func namedBy(connection, name []byte) bool {
	for len(connection) > 0 {
		var token []byte
		token, connection, _ = bytes.Cut(connection, comma)
		if token = trimSpace(token); len(token) == len(name) && bytes.EqualFold(token, name) {
			return true
		}
	}
	return false
}

// hopOptions holds the Connection fields of a message that name other fields. A message with more
// than it can hold is refused: real ones have few, and each field of the message is compared with
// each name.
type hopOptions struct {
	values [4][]byte
	n      int
	size   int            // bytes of all values
	own    limiter.Fields // fields that this hop writes in place of the message's
	key    string         // name of the API key field, in lower case; "" if there is none
	told   string         // likewise, of the client address field, if it is not X-Forwarded-For
}

// maxHopOptions bounds the values that hopOptions holds, in bytes.
const maxHopOptions = 512

// add records a Connection field. ok is false if there are too many.
func (h *hopOptions) add(value []byte) (ok bool) {
	if isPlainConnection(value) {
		return true
	}
	if h.size += len(value); h.n == len(h.values) || h.size > maxHopOptions {
		return false
	}
	h.values[h.n] = value
	h.n++
	return true
}

// keep copies the values, so that they outlive the message's buffer.
func (h *hopOptions) keep() {
	for i, value := range h.values[:h.n] {
		h.values[i] = bytes.Clone(value)
	}
}

// isPlainConnection reports whether a Connection value is close or keep-alive, as nearly all are,
// and names no field.
func isPlainConnection(value []byte) bool {
	return len(value) == 5 && equalFold(value, "close") || len(value) == 10 && equalFold(value, "keep-alive")
}

// names reports whether one of the Connection fields lists the name.
func (h *hopOptions) names(name []byte) bool {
	for _, v := range h.values[:h.n] {
		if namedBy(v, name) {
			return true
		}
	}
	return false
}

// drops reports whether the field ends at this hop: a Connection field names it, or this hop writes
// its own, so that the recipient gets only one. Connection cannot remove a field that frames,
// routes or authorises a message, that identifies its sender, or that says it may be repeated: a
// client must not be able to strip those.
func (h *hopOptions) drops(f *field) bool {
	return h.n > 0 && (f.kind == kindOther || f.kind == kindTrailer) && h.names(f.name) && !h.keeps(f.name) ||
		h.own != 0 && h.own.Has(f.name)
}

// keeps reports whether the name is that of a field that identifies the client, or differs from it
// only in _ and -.
func (h *hopOptions) keeps(name []byte) bool { return h.isKey(name) || h.tells(name) }

// isKey reports whether the name is that of the API key field, or differs from it only in _ and -.
func (h *hopOptions) isKey(name []byte) bool {
	return len(name) == len(h.key) && equalDashed(name, h.key)
}

var comma = []byte(",")

// parseLength parses a Content-Length: digits only, at most 18 of them.
func parseLength(value []byte) (n int64, ok bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
