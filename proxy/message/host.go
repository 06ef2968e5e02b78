package message

import (
	"bytes"
	"math"
)

// isHost reports whether b is a host with an optional port (RFC 9110, section 7.2). An empty host
// is valid there and here: it names no host.
func isHost(b []byte) bool {
	host, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isIPLiteral(b[1:end]) {
			return false
		}
		host, port = nil, b[end+1:]
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 {
		host, port = b[:colon], b[colon:]
	}
	if !regName.HasAll(host) {
		return false
	}
	if len(port) == 0 {
		return true
	}
	if port[0] != ':' || len(port) > 6 {
		return false
	}
	n, ok := parseLength(port[1:])
	return len(port) == 1 || ok && n <= math.MaxUint16
}

// isIPLiteral reports whether b can stand between the brackets of a host.
func isIPLiteral(b []byte) bool {
	for _, c := range b {
		if c != ':' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return len(b) >= 2
}
