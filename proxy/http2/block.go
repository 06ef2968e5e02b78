package http2

import "bytes"

// Header blocks are sent with the static table of HPACK alone, and without Huffman's code, as by
// nginx or HAProxy: what changes from one response to the next, such as the request ID, would push
// the rest out of a dynamic table, and a block that depends on no other is made beside the lock of
// its connection.

// encodeStatus appends the pseudo-field of a response, whose status has three digits.
func encodeStatus(dst []byte, status int) []byte {
	for i, known := range [...]int{200, 204, 206, 304, 400, 404, 500} {
		if status == known {
			return append(dst, 0x80|byte(8+i))
		}
	}
	return append(dst, 8, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// encodeFields appends the fields of a block of lines, in their order. What is about the connection
// is not for HTTP/2 (RFC 9113, section 8.2.2).
func encodeFields(dst, lines []byte) []byte {
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		if end < 0 {
			end = len(lines) - 1
		}
		line := lines[:end+1]
		lines = lines[end+1:]
		if colon := bytes.IndexByte(line, ':'); colon > 0 {
			dst = encodeField(dst, line[:colon], bytes.Trim(line[colon+1:], " \t\r\n"))
		}
	}
	return dst
}

// encodeField appends a field, whose name it puts into lower case. It is not indexed (RFC 7541,
// section 6.2.2).
func encodeField(dst, name, value []byte) []byte {
	var small [64]byte
	lower := append(small[:0], name...)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	switch string(lower) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return dst
	}
	if index := staticName(lower); index > 0 {
		dst = appendInt(dst, 0, 4, index)
	} else {
		dst = append(dst, 0)
		dst = append(appendInt(dst, 0, 7, len(lower)), lower...)
	}
	return append(appendInt(dst, 0, 7, len(value)), value...)
}

// appendInt appends an integer behind the high bits of its first byte (RFC 7541, section 5.1).
func appendInt(dst []byte, high byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, high|byte(n))
	}
	dst = append(dst, high|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, 0x80|byte(n))
	}
	return append(dst, byte(n))
}

// staticName returns where a name is in the static table (RFC 7541, appendix A), or 0.
func staticName(name []byte) int {
	switch string(name) {
	case "accept-ranges":
		return 18
	case "access-control-allow-origin":
		return 20
	case "age":
		return 21
	case "allow":
		return 22
	case "cache-control":
		return 24
	case "content-disposition":
		return 25
	case "content-encoding":
		return 26
	case "content-language":
		return 27
	case "content-length":
		return 28
	case "content-range":
		return 30
	case "content-type":
		return 31
	case "date":
		return 33
	case "etag":
		return 34
	case "expires":
		return 36
	case "last-modified":
		return 44
	case "link":
		return 45
	case "location":
		return 46
	case "retry-after":
		return 53
	case "server":
		return 54
	case "set-cookie":
		return 55
	case "strict-transport-security":
		return 56
	case "vary":
		return 59
	case "via":
		return 60
	case "www-authenticate":
		return 61
	}
	return 0
}
