package proxy

import "bytes"

// headerScan finds the end of a header in bytes that come in pieces.
type headerScan struct {
	size   int  // bytes of the header so far
	line   int  // bytes of the line so far
	last   byte // the one before
	begun  bool // the request line has come
	faulty bool // a line ended without CR, more than one empty line came first, or it begins with no request line
	blank  bool // an empty line came first
	spoken bool // a byte other than CR and LF has come; counts while the header has no end
	start  requestLineScan
}

// end returns how much of b belongs to the header that is being read: all of it,
// or what is up to and with the empty line.
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
	// The header has no end so far, and may never have one.
	s.faulty = s.faulty || !s.start.takes(b)
	s.spoken = s.spoken || len(bytes.Trim(b, "\r\n")) > 0
	return len(b)
}

// fault is errLine for a faulty header: fasthttp might wait for another end of it, until its time is
// over. Empty lines alone are no fault yet: fasthttp would take the error for the client's end, and
// close the connection without an answer.
func (s *headerScan) fault() error {
	if s.faulty && (s.begun || s.spoken) {
		return errLine
	}
	return nil
}

// take returns whether the header that was read last is faulty, and makes ready
// for the next.
func (s *headerScan) take() (faulty bool) {
	faulty = s.faulty
	*s = headerScan{}
	return faulty
}
