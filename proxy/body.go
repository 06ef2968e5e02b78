package proxy

import (
	"errors"
	"io"
	"time"

	"loadbalancer/proxy/message"
)

// body reads the body of a request or a response up to its end.
type body struct {
	in      *inbound
	timeout time.Duration // longest pause between two reads
	framing message.Framing
	length  int64 // of a fixed-length body
	left    int64 // bytes still to come of the body or of the current chunk
	data    int64 // bytes read so far, without framing
	ended   bool  // the whole body has been read

	chunk      chunkState
	extensions int // bytes of chunk extensions so far
	trailers   message.Trailers
}

// chunkState is the position of the reader in a chunked body (RFC 9112, section 7.1).
type chunkState uint8

const (
	chunkSize    chunkState = iota // before a chunk's size
	chunkData                      // in a chunk's data
	chunkDataEnd                   // before the CRLF after the data
	chunkTrailer                   // after the last chunk
)

var errChunk = errors.New("the chunked coding is invalid")

// newBody returns the reader of a body. length is used for a fixed length only.
func newBody(in *inbound, f message.Framing, length int64, timeout time.Duration) body {
	return body{in: in, timeout: timeout, framing: f, length: length, left: length,
		ended: f == message.NoBody || f == message.FixedLength && length == 0}
}

// ready reports whether next can return something without waiting.
func (b *body) ready() bool { return b.ended || b.in.r < b.in.w }

// next appends bytes of the body to dst, up to its capacity. It waits for the peer only if it would
// otherwise append nothing. At the end of the body it sets ended. An error means that the body is
// incomplete.
func (b *body) next(dst []byte) ([]byte, error) {
	room := cap(dst) - len(dst)
	switch {
	case b.ended:
		return dst, nil
	case b.framing == message.Chunked:
		return b.nextChunked(dst)
	case b.framing == message.FixedLength:
		room = int(min(int64(room), b.left))
	}
	n, err := b.in.read(dst[len(dst):len(dst)+room], b.timeout)
	dst = dst[:len(dst)+n]
	b.data += int64(n)
	if b.framing == message.UntilClose {
		if err == io.EOF {
			b.ended, err = true, nil
		}
		return dst, err
	}
	b.left -= int64(n)
	b.ended = b.left == 0
	return dst, unexpected(err)
}

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

// chunkLine processes one line of message.Framing: a size, the end of a chunk's data, or a trailer.
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
