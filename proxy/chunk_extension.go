package proxy

const (
	maxExtension  = 256      // bytes behind one chunk's size
	maxExtensions = 16 << 10 // bytes behind all the sizes of a body
	maxPadded     = 16       // width up to which the white space behind a size costs nothing: a long body has many
)

// isChunkExtension reports whether b may stand between a chunk's size and CRLF:
// *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), as RFC 9112,
// section 7.1.1, has it, and BWS: servers that pad a size pad it behind its extensions
// too. What an extension says never goes on.
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

// skipSpace drops the white space that b begins with.
func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// tokenLength is how many bytes at the beginning of b are a token, 0 for none.
func tokenLength(b []byte) int {
	n := 0
	for n < len(b) && charClass[b[n]]&classToken != 0 {
		n++
	}
	return n
}

// quotedLength is how many bytes at the beginning of b are a quoted-string (RFC
// 9110, section 5.6.4), 0 for none.
func quotedLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b) && charClass[b[i]]&classValue != 0; i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\': // quotes the byte behind it, which may be no control byte either
			if i++; i == len(b) || charClass[b[i]]&classValue == 0 {
				return 0
			}
		}
	}
	return 0
}
