package message

import "bytes"

// Class is a set of bytes, as bits of classes.
type Class uint8

// The classes of the bytes in the parts of a message.
const (
	Token   Class = 1 << iota // RFC 9110, section 5.6.2: tchar
	Value                     // RFC 9110, section 5.5: field-vchar, space and tab
	Target                    // a request target's bytes: visible ASCII without #
	Text                      // all but NUL, CR and LF, which can end a line or a value
	regName                   // RFC 3986, section 3.2.2
)

// Has reports whether the byte is of the class.
func (c Class) Has(b byte) bool { return classes[b]&c != 0 }

// HasAll reports whether every byte of b is of the class.
func (c Class) HasAll(b []byte) bool {
	for _, v := range b {
		if classes[v]&c == 0 {
			return false
		}
	}
	return true
}

// classes gives the classes of each byte.
var classes = func() (t [256]Class) {
	for c := range 256 {
		switch {
		case c == '\t' || c == ' ' || c >= 0x80:
			t[c] |= Value
		case c > ' ' && c < 0x7f:
			t[c] |= Value
			if c != '#' {
				t[c] |= Target
			}
		}
		if c != 0 && c != '\r' && c != '\n' {
			t[c] |= Text
		}
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			t[c] |= Token | regName
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= Token
	}
	for _, c := range "-._~!$&'()*+,;=%" {
		t[c] |= regName
	}
	return t
}()

// equalFold reports whether b is lower, in any case. lower must be in lower case and as long as b.
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

// parseLength parses a number such as a Content-Length: digits only, at most 18 of them.
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

func indexNewline(b []byte) int { return bytes.IndexByte(b, '\n') }
