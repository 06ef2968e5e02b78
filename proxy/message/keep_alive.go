package message

import (
	"bytes"
	"time"
)

// noteKeepAlive records the timeout of a Keep-Alive field (RFC 2068, section 19.7.1.1), the
// shortest if there are several. keeps is false if that is none at all. What is not a whole number
// of seconds says nothing.
func (r *Response) noteKeepAlive(list []byte) (keeps bool) {
	for len(list) > 0 {
		var parameter []byte
		parameter, list, _ = bytes.Cut(list, comma)
		name, value, _ := bytes.Cut(parameter, equals)
		if name = trimSpace(name); len(name) != 7 || !equalFold(name, "timeout") {
			continue
		}
		seconds, ok := parseLength(bytes.Trim(trimSpace(value), `"`))
		switch {
		case !ok || seconds > maxKeepAlive:
		case seconds == 0:
			return false
		case r.KeepFor == 0 || time.Duration(seconds)*time.Second < r.KeepFor:
			r.KeepFor = time.Duration(seconds) * time.Second
		}
	}
	return true
}

// maxKeepAlive is the longest timeout that is heeded, in seconds: a longer one bounds nothing.
const maxKeepAlive = 7 * 24 * 60 * 60

var equals = []byte("=")
