package proxy

import "bytes"

// headerLines finds the end of a response's header in bytes that come in pieces.
// Lines end in CRLF, or in LF alone (RFC 9112, section 2.2).
type headerLines struct {
	line    int  // where the last line begins
	scanned int  // how many bytes have been looked at
	lone    bool // a line ended in LF alone
}

// end returns the size of the header that b begins with, its empty line included, or
// 0 if more of it has to come. The next call has the same bytes and those that came
// behind them. A CR that is not followed by LF is an error at once: a backend that
// ends its lines in CR would never end its header.
func (h *headerLines) end(b []byte) (size int, err error) {
	for at := h.scanned; ; at++ {
		n := indexNewline(b[at:])
		if n < 0 {
			break
		}
		at += n
		crlf := at > h.line && b[at-1] == '\r'
		h.lone = h.lone || !crlf
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

// inCRLF returns a copy of a header in which every line ends in CRLF.
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
