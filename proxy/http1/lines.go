package http1

import (
	"bytes"
	"errors"
)

// maxLine is the longest line of chunk framing or trailers.
const maxLine = 4 << 10

var errLine = errors.New("a line is too long or does not end in CRLF")

// hasBareCR reports whether a CR in b is followed by something other than LF. A CR at the end of b
// does not count: what follows it has not arrived.
func hasBareCR(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 || i == len(b)-1 {
			return false
		}
		if b = b[i+1:]; b[0] != '\n' {
			return true
		}
	}
}

func indexNewline(b []byte) int { return bytes.IndexByte(b, '\n') }
