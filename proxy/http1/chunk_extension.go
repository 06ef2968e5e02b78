package http1

import "loadbalancer/proxy/message"

const (
	maxExtension  = 256      // bytes after one chunk's size
	maxExtensions = 16 << 10 // bytes after all the sizes of a body

	// maxPadded is the length of a size with white space after it, in bytes, up to which nothing
	// counts towards maxExtensions: a long body has many sizes.
	maxPadded = 16
)

// isChunkExtension reports whether b may stand between a chunk's size and CRLF: *( BWS ";" BWS
// token [ BWS "=" BWS ( token / quoted-string ) ] ) of RFC 9112, section 7.1.1, and then BWS,
// because servers that pad sizes pad extensions too. Extensions are never forwarded.
func isChunkExtension(b []byte) bool {
	for {
		if b = skipSpace(b); len(b) == 0 {
			return true
		}
		if b[0] != ';' {
			return false
		}
		b = skipSpace(b[1:])
		name := tokenLength(b)
		if name == 0 {
			return false
		}
		b = b[name:]
		if value := skipSpace(b); len(value) > 0 && value[0] == '=' {
			value = skipSpace(value[1:])
			n := max(tokenLength(value), quotedLength(value))
			if n == 0 {
				return false
			}
			b = value[n:]
		}
	}
}

// skipSpace returns b without its leading white space.
func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// tokenLength returns the length of the token that b begins with, or 0.
func tokenLength(b []byte) int {
	n := 0
	for n < len(b) && message.Token.Has(b[n]) {
		n++
	}
	return n
}

// quotedLength returns the length of the quoted-string that b begins with (RFC 9110, section
// 5.6.4), or 0.
func quotedLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b) && message.Value.Has(b[i]); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\': // escapes the next byte, which may not be a control byte either
			if i++; i == len(b) || !message.Value.Has(b[i]) {
				return 0
			}
		}
	}
	return 0
}
