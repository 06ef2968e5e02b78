package http1

import "loadbalancer/proxy/message"

// requestLineScan checks a request line that arrives in pieces. It rejects bytes that cannot become
// one, such as those of a TLS or SSH client, without waiting for the end of a header. It rejects
// nothing that the guard would pass. The zero value is ready to use.
type requestLineScan struct {
	part  requestLinePart
	bytes int  // of this part so far
	blank bool // the one leading empty line that is allowed has come
}

type requestLinePart uint8

const (
	partMethod requestLinePart = iota
	partEmptyLine
	partTarget
	partVersion
	partDone // further bytes belong to fields
)

// takes reports whether the bytes, after those of earlier calls, can be the start of a request.
func (s *requestLineScan) takes(b []byte) bool {
	for _, c := range b {
		if s.part == partDone {
			return true
		}
		if !s.takesByte(c) {
			return false
		}
	}
	return true
}

func (s *requestLineScan) takesByte(c byte) bool {
	const version, either = "HTTP/1.1\r\n", len("HTTP/1.")
	at := s.bytes
	s.bytes++
	switch s.part {
	case partMethod:
		switch {
		case c == ' ' && at > 0:
			s.part, s.bytes = partTarget, 0
		case c == '\r' && at == 0 && !s.blank:
			s.part, s.blank = partEmptyLine, true
		default:
			return at < message.MaxMethod && message.Token.Has(c)
		}
	case partEmptyLine:
		s.part, s.bytes = partMethod, 0
		return c == '\n'
	case partTarget:
		if c == ' ' && at > 0 {
			s.part, s.bytes = partVersion, 0
			return true
		}
		return message.Target.Has(c)
	case partVersion:
		if s.bytes == len(version) {
			s.part = partDone
		}
		return c == version[at] || at == either && c == '0'
	}
	return true
}
