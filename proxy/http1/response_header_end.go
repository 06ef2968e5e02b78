package http1

import (
	"bytes"
	"errors"
)

var errResponseHeader = errors.New("the response header is not valid HTTP/1.1")

// headerLines finds the end of a response's header in bytes that arrive in pieces. Lines end in
// CRLF, or in LF alone (RFC 9112, section 2.2).
type headerLines struct {
	line    int  // where the last line begins
	scanned int  // number of bytes scanned
	bareLF  bool // a line ended in LF alone
}

// end returns the size of the header that b begins with, including its empty line, or 0 if the
// header is incomplete. The next call must pass the same bytes with more appended. A CR that is not
// followed by LF is an error at once: a backend that ends its lines in CR would never end its
// header.
func (h *headerLines) end(b []byte) (size int, err error) {
	for at := h.scanned; ; at++ {
		n := indexNewline(b[at:])
		if n < 0 {
			break
		}
		at += n
		crlf := at > h.line && b[at-1] == '\r'
		h.bareLF = h.bareLF || !crlf
		if at == h.line || crlf && at == h.line+1 {
			return at + 1, nil
		}
		h.line = at + 1
	}
	if hasBareCR(b[max(0, h.scanned-1):]) {
		return 0, errResponseHeader
	}
	h.scanned = len(b)
	return 0, nil
}

// inCRLF returns a copy of a header with every line ending in CRLF.
func inCRLF(header []byte) []byte {
	dst := make([]byte, 0, len(header)+bytes.Count(header, newline))
	for len(header) > 0 {
		end := indexNewline(header)
		dst = append(dst, bytes.TrimSuffix(header[:end], carriageReturn)...)
		dst = append(dst, "\r\n"...)
		header = header[end+1:]
	}
	return dst
}

var (
	newline        = []byte("\n")
	carriageReturn = []byte("\r")
)
