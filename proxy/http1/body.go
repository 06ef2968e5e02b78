package http1

import (
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

// newBody returns the reader of a body. length is used for a fixed length only.
func newBody(in *inbound, f message.Framing, length int64, timeout time.Duration) body {
	return body{in: in, timeout: timeout, framing: f, length: length, left: length,
		ended: f == message.NoBody || f == message.FixedLength && length == 0}
}

// ready reports whether next has something to work on. It may still wait, for the rest of a line of
// the chunked coding.
func (b *body) ready() bool { return b.ended || b.in.r < b.in.w }

// next appends bytes of the body to dst, up to its capacity; if dst is full it does nothing. It
// waits for the peer only if it would otherwise append nothing. At the end of the body it sets
// ended. An error means that the body is incomplete.
func (b *body) next(dst []byte) ([]byte, error) {
	room := cap(dst) - len(dst)
	switch {
	case b.ended || room == 0:
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
