package http1

import "bytes"

// headerScan finds the end of a request's header in bytes that arrive in pieces.
type headerScan struct {
	size     int  // bytes of the header so far
	line     int  // bytes of the line so far
	last     byte // the byte before
	begun    bool // the request line has come
	blank    bool // an empty line came first
	nonEmpty bool // a byte other than CR and LF has come; valid while the header is incomplete
	start    requestLineScan

	// faulty is set if a line ended without CR, if two empty lines came first, or if the start is
	// not a request line.
	faulty bool
}

// end returns how many bytes of b belong to the current header: all of them, or those up to and
// including the empty line.
func (s *headerScan) end(b []byte) int {
	for i := 0; i < len(b); i++ {
		next := indexNewline(b[i:])
		if next < 0 {
			s.line += len(b) - i
			s.last = b[len(b)-1]
			break
		}
		if next > 0 {
			s.line += next
			s.last = b[i+next-1]
		}
		i += next
		crlf := s.line > 0 && s.last == '\r'
		empty := s.line == 1 && crlf || s.line == 0
		s.faulty = s.faulty || !crlf
		s.line, s.last = 0, '\n'
		switch {
		case !empty:
			s.begun = true
		case s.begun && crlf:
			return i + 1
		case !s.begun:
			s.faulty = s.faulty || s.blank
			s.blank = true
		}
	}
	// The header is incomplete so far, and may remain so.
	s.faulty = s.faulty || !s.start.takes(b)
	s.nonEmpty = s.nonEmpty || len(bytes.Trim(b, "\r\n")) > 0
	return len(b)
}

// fault returns errLine for a faulty header, because fasthttp might wait for a different end of it
// until it times out. Empty lines alone are not a fault yet: fasthttp would take the error for the
// end of the connection, and close it without an answer.
func (s *headerScan) fault() error {
	if s.faulty && (s.begun || s.nonEmpty) {
		return errLine
	}
	return nil
}

// take reports whether the last header was faulty, and resets the scan for the next one.
func (s *headerScan) take() (faulty bool) {
	faulty = s.faulty
	*s = headerScan{}
	return faulty
}
