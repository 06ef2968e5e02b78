package message

import (
	"bytes"
	"net/netip"
)

// field is one line of a header block: name, colon, value and CRLF, as received.
type field struct {
	line  []byte
	name  []byte
	value []byte // without the white space around it
	kind  kind
}

// nextField splits the first line off a header block and returns the rest. ok is false if the line
// is not a field, if its value has a byte outside the class, or if it does not end in CRLF. At the
// end of the block, f.line is nil.
func nextField(block []byte, values Class) (f field, rest []byte, ok bool) {
	if len(block) == 0 || len(block) == 2 && block[0] == '\r' && block[1] == '\n' {
		return field{}, nil, true
	}
	end := indexNewline(block)
	if end < 1 || block[end-1] != '\r' {
		return field{}, nil, false
	}
	f, ok = parseField(block[:end-1], values)
	f.line = block[:end+1]
	return f, block[end+1:], ok
}

// knownField is nextField for a block that nextField has accepted: it checks nothing again.
func knownField(block []byte) (f field, rest []byte) {
	end := indexNewline(block)
	if end < 2 {
		return field{}, nil
	}
	f.line = block[:end+1]
	colon := bytes.IndexByte(f.line, ':')
	f.name, f.value = f.line[:colon], trimSpace(f.line[colon+1:end-1])
	f.kind = kindOf(f.name)
	return f, block[end+1:]
}

// parseField parses a line without its CRLF. ok is false if it is not a field of RFC 9112, section
// 5: a token, a colon right after it, and a value of bytes of the class.
func parseField(line []byte, values Class) (f field, ok bool) {
	colon := 0
	for colon < len(line) && Token.Has(line[colon]) {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return field{}, false
	}
	value := line[colon+1:]
	if !values.HasAll(value) {
		return field{}, false
	}
	f = field{name: line[:colon], value: trimSpace(value)}
	f.kind = kindOf(f.name)
	return f, true
}

// inHTTP2 reports whether the field may stand in a header of HTTP/2: its name is in lower case, and
// it says nothing of the connection (RFC 9113, section 8.2).
func (f *field) inHTTP2() bool {
	for _, c := range f.name {
		if 'A' <= c && c <= 'Z' {
			return false
		}
	}
	switch f.kind {
	case kindConnection, kindKeepAlive, kindTransferEncoding, kindUpgrade:
		return false
	case kindTE:
		return len(f.value) == len("trailers") && equalFold(f.value, "trailers")
	}
	return string(f.name) != "proxy-connection"
}

// trimSpace drops the optional white space around a value (RFC 9110, section 5.6.3).
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// appendField appends a field.
func appendField(dst []byte, nameAndColon string, value []byte) []byte {
	dst = append(dst, nameAndColon...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// appendAddress appends a field whose value is an address.
func appendAddress(dst, name []byte, addr netip.Addr) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(addr.AppendTo(dst), "\r\n"...)
}
