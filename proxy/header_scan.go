package proxy

import "bytes"

// headerScan finds the end of a header in bytes that come in pieces.
type headerScan struct {
	size   int  // bytes of the header so far
	line   int  // bytes of the line so far
	last   byte // the one before
	begun  bool // the request line has come
	faulty bool // a line ended without CR, more than one empty line came first, or a method has no end
	blank  bool // an empty line came first
	spaced bool // a space has come in the request line, which has no end so far
}

// end returns how much of b belongs to the header that is being read: all of it,
// or what is up to and with the empty line.
func (s *headerScan) end(b []byte) int {
	for i := 0; i < len(b); i++ {
		next := indexNewline(b[i:])
		if next < 0 {
			s.unended(b[i:])
			return len(b)
		}
		if next > 0 {
			s.line += next
			s.last = b[i+next-1]
		}
		i += next
		crlf := s.line > 0 && s.last == '\r'
		empty := s.line == 1 && crlf || s.line == 0
		s.faulty = s.faulty || !crlf
		s.line, s.last, s.spaced = 0, '\n', false
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
	return len(b)
}

// unended takes the beginning of a line, or more of one. A method that is too long
// is a fault here already: the line may never end.
func (s *headerScan) unended(part []byte) {
	if !s.begun && !s.spaced && s.line <= maxMethod {
		head := part[:min(len(part), maxMethod+1-s.line)]
		s.spaced = bytes.IndexByte(head, ' ') >= 0
		s.faulty = s.faulty || !s.spaced && s.line+len(head) > maxMethod
	}
	s.line += len(part)
	s.last = part[len(part)-1]
}

// fault is errLine for a faulty header: fasthttp might wait for another end of it,
// until its time is over.
func (s *headerScan) fault() error {
	if s.faulty {
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
