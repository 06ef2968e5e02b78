package http1

import (
	"errors"
	"time"
)

// chunkState is the position of the reader in a chunked body (RFC 9112, section 7.1).
type chunkState uint8

const (
	chunkSize    chunkState = iota // before a chunk's size
	chunkData                      // in a chunk's data
	chunkDataEnd                   // before the CRLF after the data
	chunkTrailer                   // after the last chunk
)

var errChunk = errors.New("the chunked coding is invalid")

// nextChunked is next for chunked bodies. dst gets only the data.
func (b *body) nextChunked(dst []byte) ([]byte, error) {
	for start := len(dst); ; {
		if b.chunk != chunkData {
			line, err := b.in.line(len(dst) == start, b.timeout)
			if err != nil || line == nil {
				return dst, err
			}
			if err := b.chunkLine(line); err != nil || b.ended {
				return dst, err
			}
			continue
		}
		if len(dst) == cap(dst) || len(dst) > start && b.in.r == b.in.w {
			return dst, nil // send what is here before waiting for more
		}
		room := int(min(int64(cap(dst)-len(dst)), b.left))
		n, err := b.in.read(dst[len(dst):len(dst)+room], b.timeout)
		dst = dst[:len(dst)+n]
		b.data += int64(n)
		if err != nil {
			return dst, unexpected(err)
		}
		if b.left -= int64(n); b.left == 0 {
			b.chunk = chunkDataEnd
		}
	}
}

// chunkLine processes one line of the framing: a size, the end of a chunk's data, or a trailer.
func (b *body) chunkLine(line []byte) error {
	switch b.chunk {
	case chunkSize:
		size, extension, ok := parseChunkSize(line)
		if b.extensions += extension; !ok || b.extensions > maxExtensions {
			return errChunk
		}
		b.left, b.chunk = size, chunkData
		if size == 0 {
			b.chunk = chunkTrailer
		}
	case chunkDataEnd:
		if len(line) != 0 {
			return errChunk
		}
		b.chunk = chunkSize
	case chunkTrailer:
		if b.ended = len(line) == 0; !b.ended && !b.trailers.Add(line) {
			return errChunk
		}
	}
	return nil
}

// parseChunkSize parses the line before a chunk's data. extension is the number of bytes after the
// size that count towards maxExtensions. White space there is BWS even without an extension:
// servers pad sizes with it.
func parseChunkSize(line []byte) (size int64, extension int, ok bool) {
	const most = 15 // digits that fit into an int64
	digits := 0
	for digits < len(line) && digits <= most {
		v, hex := hexDigit(line[digits])
		if !hex {
			break
		}
		size = size<<4 | int64(v)
		digits++
	}
	rest := line[digits:]
	if digits == 0 || digits > most || len(rest) > maxExtension {
		return 0, 0, false
	}
	if len(skipSpace(rest)) == 0 {
		return size, max(0, len(line)-maxPadded), true
	}
	return size, len(rest), isChunkExtension(rest)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return (c | 0x20) - 'a' + 10, true
	}
	return 0, false
}

// appendChunk frames the data in b[start:] as one chunk.
func appendChunk(b []byte, start int) []byte {
	size := len(b) - start
	var head [18]byte
	n := len(head) - 2
	copy(head[n:], "\r\n")
	for v := size; ; v >>= 4 {
		n--
		head[n] = "0123456789abcdef"[v&15]
		if v < 16 {
			break
		}
	}
	h := head[n:]
	b = append(b, h...) // makes room; then the data moves behind its size
	copy(b[start+len(h):], b[start:start+size])
	copy(b[start:], h)
	return append(b, '\r', '\n')
}

// chunkOverhead is the most that appendChunk and the last chunk can add.
const chunkOverhead = 18 + 2 + len(lastChunk)

const lastChunk = "0\r\n\r\n"

// line takes a line off the buffer and returns it without its CRLF. If the line is incomplete, it
// waits for the rest or, if wait is false, returns nil.
func (in *inbound) line(wait bool, timeout time.Duration) ([]byte, error) {
	for {
		have := in.buffered()
		i := indexNewline(have)
		if i > maxLine || i < 0 && len(have) > maxLine {
			return nil, errLine
		}
		if i < 0 && hasBareCR(have) {
			return nil, errChunk // at once: the line may never end
		}
		if i >= 0 {
			if i == 0 || have[i-1] != '\r' {
				return nil, errLine
			}
			in.r += i + 1
			return have[: i-1 : i], nil
		}
		if !wait {
			return nil, nil
		}
		if err := in.fill(timeout); err != nil {
			return nil, unexpected(err)
		}
	}
}
