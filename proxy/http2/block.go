package http2

import (
	"bytes"
	"hash/maphash"
)

// encoder writes header blocks (RFC 7541), without Huffman's code. The zero value, with most set, is
// that of a new connection. It needs to be asked in the order in which the blocks are sent.
type encoder struct {
	table   []indexed  // as far as it is used of what the decoder holds: the newest is the last
	size    int        // of the table, in bytes, where each field counts 32 more
	most    int        // of size
	resized bool       // most has changed since the last block
	seen    [64]uint32 // parts of hashes; the lowest bit: not yet contested
}

// indexed is a field in the table, as it stands in a block of lines.
type indexed struct {
	hash uint64
	text string
	size int
}

const (
	// maxTable is how many fields of the table are used, and tableSize the bytes of the table, which
	// is the default (RFC 9113, section 6.5.2).
	maxTable  = 32
	tableSize = 4096
	// maxIndexed is the size of the largest line that is put into the table.
	maxIndexed = 512
)

var hashSeed = maphash.MakeSeed()

// resize goes by the size of the table that the client allows. The table begins anew.
func (e *encoder) resize(most int) {
	if most = min(most, tableSize); most == e.most {
		return
	}
	e.table, e.size, e.most, e.resized = nil, 0, most, true
}

// evict drops the oldest fields until there are no more than fit.
func (e *encoder) evict() {
	n := 0
	for ; n < len(e.table) && (e.size > e.most || len(e.table)-n > maxTable); n++ {
		e.size -= e.table[n].size
	}
	if n > 0 {
		kept := copy(e.table, e.table[n:])
		clear(e.table[kept:])
		e.table = e.table[:kept]
	}
}

// encode appends a header block: the status, unless that is 0, and the fields of lines, in their
// order. What is about the connection is not for HTTP/2 (RFC 9113, section 8.2.2).
func (e *encoder) encode(dst []byte, status int, lines []byte) []byte {
	if e.resized {
		e.resized = false
		dst = append(dst, 0x20) // the least of the sizes since the last block, or less, comes first
		dst = appendInt(dst, 0x20, 5, e.most)
	}
	if status != 0 {
		dst = encodeStatus(dst, status)
	}
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		if end < 0 {
			end = len(lines) - 1
		}
		text := lines[:end+1]
		lines = lines[end+1:]
		if colon := bytes.IndexByte(text, ':'); colon > 0 {
			dst = e.encodeLine(dst, text, colon)
		}
	}
	return dst
}

// encodeLine appends a field.
func (e *encoder) encodeLine(dst, text []byte, colon int) []byte {
	hash := maphash.Bytes(hashSeed, text)
	for i := len(e.table) - 1; i >= 0; i-- {
		if at := &e.table[i]; at.hash == hash && at.text == string(text) {
			return appendInt(dst, 0x80, 7, staticFields+len(e.table)-i)
		}
	}
	var small [64]byte
	name := append(small[:0], text[:colon]...)
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
	if isOfConnection(name) {
		return dst
	}
	value := bytes.Trim(text[colon+1:], " \t\r\n")
	high, bits := byte(0), uint(4) // without indexing
	if e.isToIndex(hash, name, len(text)) {
		high, bits = 0x40, 6
		size := len(name) + len(value) + 32
		e.size += size
		e.table = append(e.table, indexed{hash, string(text), size})
		e.evict()
	}
	index := staticName(name)
	dst = appendInt(dst, high, bits, index)
	if index == 0 {
		dst = append(appendInt(dst, 0, 7, len(name)), name...)
	}
	return append(appendInt(dst, 0, 7, len(value)), value...)
}

// isToIndex decides whether a field is put into the table: one that has come before. What differs in
// each response, such as a request ID, would only push the others out, and what is for the client
// alone stays out of it (RFC 7541, section 7.1.3).
func (e *encoder) isToIndex(hash uint64, name []byte, size int) bool {
	if size > maxIndexed || size+32 > e.most || string(name) == "set-cookie" {
		return false
	}
	slot, mark := &e.seen[hash%uint64(len(e.seen))], uint32(hash>>32)|1
	switch *slot {
	case mark, mark &^ 1:
		return true
	}
	// Two fields of the same slot that take turns would push each other out for ever, so what is
	// seen stays once.
	if *slot&1 != 0 {
		*slot &^= 1
	} else {
		*slot = mark
	}
	return false
}

func isOfConnection(name []byte) bool {
	switch string(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// staticFields is how many fields the static table has.
const staticFields = 61

// encodeStatus appends the pseudo-field of a response, whose status has three digits.
func encodeStatus(dst []byte, status int) []byte {
	for i, known := range [...]int{200, 204, 206, 304, 400, 404, 500} {
		if status == known {
			return append(dst, 0x80|byte(8+i))
		}
	}
	return append(dst, 8, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
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
